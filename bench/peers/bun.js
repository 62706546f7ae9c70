// A floor, not a peer: no check of messages, no acknowledgement, only topics of the WebSocket server in Bun.
const server = Bun.serve({
  hostname: "127.0.0.1",
  port: Number(process.argv[2]),
  fetch(request, server) {
    const query = new URL(request.url).searchParams;
    const data = { user: query.get("user"), group: query.get("group") };
    return server.upgrade(request, { data }) ? undefined : new Response("ready");
  },
  websocket: {
    open(socket) {
      socket.subscribe(socket.data.user);
      if (socket.data.group) socket.subscribe(socket.data.group);
    },
    message(_, text) {
      const end = text.indexOf(" ");
      server.publish(text.slice(0, end), text.slice(end + 1));
    },
  },
});
