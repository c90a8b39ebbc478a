"""Call sites in catch clauses of old-form exception handling: the code in these clauses moves behind their tries.

This happens when it is known which calls may suspend, and before anything is planned: what plans, writes and measures
functions sees bodies in which no catch clause contains a call site. Functions without such call sites stay as they are.
"""
