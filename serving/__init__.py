"""A model server that speaks TensorFlow Serving's API, and a client for both.

`python -m serving` starts the server; `serving.client.Client` asks it. Importing
this package, or the client for REST, loads neither TensorFlow nor gRPC.
"""
