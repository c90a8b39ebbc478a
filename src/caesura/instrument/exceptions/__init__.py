"""Old-form exceptions become new ones: `try` with its catch clauses, `delegate` and `rethrow` become `try_table`.

`translate.py` does it for a module, `translation.py` for a function, with what `constructs.py` finds in it; `copied.py`
copies the code between, and says where instructions are then.
"""
