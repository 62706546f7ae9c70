package com.mics.hooksdk;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.io.InputStream;
import java.net.InetSocketAddress;
import java.util.Optional;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;

/**
 * A hook server on the JDK's own HTTP server. TLS and access from outside belong to a proxy in front of it.
 *
 * <p>200: answered or refused with a reason; 400: body unreadable; 404: other path; 405: not POST; 413: body too long;
 * 415: other content type; 500: the members of a group could not be found out; 503: too slow or overloaded.
 */
public final class MicsHookHttpServer implements AutoCloseable {
    static {
        // Read once by the JDK's server. Without the first, small answers wait 40 ms for an acknowledgement of TCP; the
        // second (seconds) ends requests that never finish arriving.
        if (System.getProperty("sun.net.httpserver.nodelay") == null) {
            System.setProperty("sun.net.httpserver.nodelay", "true");
        }
        if (System.getProperty("sun.net.httpserver.maxReqTime") == null) {
            System.setProperty("sun.net.httpserver.maxReqTime", "10");
        }
    }

    private final MicsHookProcessor processor;
    private final HttpServer server;
    private final ExecutorService exchanges;

    /**
     * Binds the address; {@link #start} begins to answer.
     *
     * @param address port 0 takes any free one, see {@link #getAddress}.
     */
    public MicsHookHttpServer(InetSocketAddress address, MicsHookHandler handler, MicsHookServerOptions options)
            throws IOException {
        server = HttpServer.create(address, 1024);
        processor = new MicsHookProcessor(handler, options);
        // Each waits for a handler; the default of the JDK's server is one thread for all.
        exchanges = Executors.newFixedThreadPool(options.handlerThreads() * 2);
        server.setExecutor(exchanges);
        server.createContext("/", this::answer);
    }

    /** Begins to answer; returns after a warm-up of less than a second or so, when answers are quick. */
    public void start() {
        processor.warmUp();
        server.start();
        processor.warmUp(server.getAddress(), HookOperation.AUTH.path());
    }

    /** The address in use. */
    public InetSocketAddress getAddress() {
        return server.getAddress();
    }

    /** Takes no more requests and ends; those at work have a second. */
    @Override
    public void close() {
        server.stop(1);
        processor.close();
        exchanges.shutdownNow();
    }

    private void answer(HttpExchange exchange) throws IOException {
        try (exchange) {
            MicsHookProcessor.Reply reply = reply(exchange);
            if (reply.status() != 200) {
                exchange.sendResponseHeaders(reply.status(), -1);
                return;
            }
            exchange.getResponseHeaders().set("Content-Type", MicsHookProcessor.CONTENT_TYPE);
            // Never empty: every answer has a meta. Length 0 would mean chunks.
            exchange.sendResponseHeaders(200, reply.body().length);
            exchange.getResponseBody().write(reply.body());
        }
    }

    private MicsHookProcessor.Reply reply(HttpExchange exchange) throws IOException {
        Optional<HookOperation> operation = HookOperation.ofPath(exchange.getRequestURI().getPath());
        if (operation.isEmpty()) {
            return MicsHookProcessor.Reply.empty(404);
        }
        if (!exchange.getRequestMethod().equals("POST")) {
            return MicsHookProcessor.Reply.empty(405);
        }
        if (!MicsHookProcessor.isProtobufContentType(exchange.getRequestHeaders().getFirst("Content-Type"))) {
            return MicsHookProcessor.Reply.empty(415);
        }
        int limit = processor.options().maxBodyBytes();
        if (announcedLength(exchange) > limit) {
            return MicsHookProcessor.Reply.empty(413);
        }
        try (InputStream in = exchange.getRequestBody()) {
            byte[] body = in.readNBytes(limit + 1);
            return body.length > limit ? MicsHookProcessor.Reply.empty(413) : processor.process(operation.get(), body);
        }
    }

    private static long announcedLength(HttpExchange exchange) {
        String length = exchange.getRequestHeaders().getFirst("Content-Length");
        try {
            return length == null ? 0 : Long.parseLong(length.trim());
        } catch (NumberFormatException e) {
            return 0;
        }
    }
}
