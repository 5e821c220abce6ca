"""The configuration file: schema, loading, and building models from it."""
