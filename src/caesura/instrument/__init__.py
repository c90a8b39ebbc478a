"""The transformation: options, plan, rewritten module."""
