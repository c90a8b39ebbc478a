#!/bin/sh
# Install Chromium for the browser test, where it is missing.
set -eu

. "$(dirname "$0")/../../tests/support/apt.sh"
install_missing js/test chromium
