// Opens a SQLite database: Node's own where there is one (22.13 and newer), else node-sqlite3-wasm.
// `new Database(path)` of better-sqlite3 fits SqliteOfflineStore just as well.
export async function openSqlite(path) {
  const own = await import('node:sqlite').catch(() => undefined);
  if (own) return new own.DatabaseSync(path);
  const { Database } = (await import('node-sqlite3-wasm')).default;
  const db = new Database(path);
  return {
    exec: (sql) => db.exec(sql),
    prepare: (sql) => ({ run: (...values) => db.run(sql, values), all: (...values) => db.all(sql, values) }),
    close: () => db.close(),
  };
}
