"""The oracle of saved states: a run that is saved, and goes on in another process, is the run that was never saved.

A `world` is a guest with what is called in it and what its host functions answer, all of it from a seed. `driving` runs
it, suspended at every host call that has no body, and takes snapshots where it is told to; what it knows itself
travels beside the snapshot. `processes` lets one pool of processes save and another one go on.
"""
