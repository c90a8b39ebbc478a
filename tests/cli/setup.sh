#!/bin/sh
# Install zsh and fish for the tests of completion, where they are missing.
set -eu

. "$(dirname "$0")/../support/apt.sh"
install_missing tests/cli zsh fish
