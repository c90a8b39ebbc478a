"""Recordings: which functions were on the stack at suspensions, and which were missing in a list, a line of JSON each.

`lines` appends to the file that `CAESURA_RECORD` names, `place` says where that is, `environment` has other processes
do so, `recorded` reads what is there, and `recorded_list` makes an only-list of it.
"""
