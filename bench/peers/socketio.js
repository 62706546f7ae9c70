// Socket.IO doing MICS's work: every message is checked by an HTTP hook, then goes to the room of its user or group.
// Set up as its performance tuning guide says: bufferutil present, the first request of a socket let go.
const { Server } = require("socket.io");
const { Pool } = require("undici");

const port = Number(process.argv[2]);
const hook = new Pool(`http://127.0.0.1:${process.argv[3]}`, { connections: 512 });
const headers = { "content-type": "application/json" };

async function allowed(path, question) {
  const { statusCode, body } = await hook.request({ method: "POST", path, headers, body: JSON.stringify(question) });
  await body.dump();
  return statusCode === 200;
}

const io = new Server(port, { serveClient: false, transports: ["websocket"] });
io.engine.on("connection", (raw) => { raw.request = null; });
io.use((socket, next) => {
  const { user } = socket.handshake.auth;
  allowed("/plain-auth", { user }).then((ok) => next(ok ? undefined : new Error("refused")), next);
});
io.on("connection", (socket) => {
  const { user, group } = socket.handshake.auth;
  socket.join(user);
  if (group) socket.join(group);
  socket.use(([event, to, body], next) => {
    allowed("/plain-check", { event, user, to, body }).then((ok) => next(ok ? undefined : new Error("refused")), next);
  });
  socket.on("m", (to, body, ack) => {
    io.to(to).emit("m", body);
    ack();
  });
});
