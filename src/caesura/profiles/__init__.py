"""Profiles: how much of its time a program spends in each of its functions, as other tools have measured it.

`reading` tells which form a file has, a file for each reads it. Nothing here knows of the transformation.
"""
