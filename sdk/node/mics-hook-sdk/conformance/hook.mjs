// Conformance program: the sample server as it is, with a store in memory.
process.env.DB_PATH ??= ':memory:';
await import('../samples/http/server.mjs');
