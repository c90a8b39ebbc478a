"""What tests of several folders share: engines, guests, hosts for the plain ABI."""
