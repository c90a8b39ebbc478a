"""What makes a module's state readable and settable by hosts: exports, helpers, and a section that tells of them.

A pass over a finished module, instrumented or not: it adds behind what there is and changes no function.
"""
