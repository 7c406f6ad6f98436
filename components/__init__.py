"""One file per stage: what TFX lacks, and the functions that TFX calls by path."""
