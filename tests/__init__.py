"""The tests, and the scripted server that they buy from."""
