"""The conformance rig: runs the programs of all SDKs against a real gateway. Python's standard library only."""
