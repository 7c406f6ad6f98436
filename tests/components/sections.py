"""`transform` sections as the stages get them: every default present, plain JSON."""

import json

from recipes.transform import Transform

YES_NO = {"feature": "y", "above": 0.5}


def section(**keys):
    """Return what a recipe with these keys hands on; its label is a yes-or-no one."""
    keys.setdefault("label", YES_NO)
    return Transform.model_validate_json(json.dumps(keys)).model_dump(mode="json")
