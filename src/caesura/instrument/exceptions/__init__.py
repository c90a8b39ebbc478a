"""Old-form exceptions become new ones: `try` with its catch clauses, `delegate` and `rethrow` become `try_table`.

`translate.py` does it for a module, `translation.py` for a function, with what `constructs.py` finds in it; `places.py`
says where instructions are then.
"""
