"""Tests with Emscripten as the tool chain, where it is installed."""
