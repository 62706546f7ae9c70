"""Generated from proto/Protos by sdk/python/generate.sh."""
