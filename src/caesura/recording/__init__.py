"""Recordings: which functions were on the stack at suspensions, and which were missing in a list, a line of JSON each.

`lines` appends to the file that `CAESURA_RECORD` names.
"""
