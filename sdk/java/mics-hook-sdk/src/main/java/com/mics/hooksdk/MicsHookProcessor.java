package com.mics.hooksdk;

import com.google.protobuf.InvalidProtocolBufferException;
import java.lang.System.Logger.Level;
import java.net.InetSocketAddress;
import java.util.Locale;
import java.util.Optional;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.RejectedExecutionException;
import java.util.concurrent.ThreadFactory;
import java.util.concurrent.ThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicLong;

/**
 * Answers hook requests, whatever server they came through: decodes, checks tenant, signature, time and repetition, and
 * calls the handler within its time.
 *
 * <p>Refusals are HTTP 200 with a reason. 400: the body is not the expected message. 500: the handler threw (a message is
 * refused instead). 503: the handler took too long or too many are at work; the gateway then degrades as for any failed
 * hook.
 */
public final class MicsHookProcessor implements AutoCloseable {
    /** Content type of requests and responses. */
    public static final String CONTENT_TYPE = "application/protobuf";

    private static final System.Logger LOG = System.getLogger(MicsHookProcessor.class.getName());

    private final MicsHookHandler handler;
    private final MicsHookServerOptions options;
    private final RequestGuard guard;
    private final ThreadPoolExecutor handlers;
    private final AtomicLong nextWarning = new AtomicLong(System.nanoTime());

    /** What to answer: an HTTP status and a body, which is empty unless the status is 200. */
    public record Reply(int status, byte[] body) {
        static Reply empty(int status) {
            return new Reply(status, new byte[0]);
        }
    }

    public MicsHookProcessor(MicsHookHandler handler, MicsHookServerOptions options) {
        this.handler = handler;
        this.options = options;
        guard = new RequestGuard(options);
        int threads = options.handlerThreads();
        handlers = new ThreadPoolExecutor(
                threads, threads, 30, TimeUnit.SECONDS, new LinkedBlockingQueue<>(threads * 4), threadFactory());
        handlers.allowCoreThreadTimeOut(true);
    }

    public MicsHookServerOptions options() {
        return options;
    }

    /** True for the content types of protobuf and for none at all; other requests should be answered 415. */
    public static boolean isProtobufContentType(String contentType) {
        if (contentType == null || contentType.isBlank()) {
            return true;
        }
        String type = contentType.split(";", 2)[0].trim().toLowerCase(Locale.ROOT);
        return type.equals(CONTENT_TYPE) || type.equals("application/x-protobuf") || type.equals("application/octet-stream");
    }

    /**
     * Has the virtual machine compile what answering takes, with made-up requests that do not reach the handler. Call it
     * before the server takes requests: the first ones have 150 ms, too.
     */
    public void warmUp() {
        WarmUp.processor();
    }

    /**
     * The same over HTTP, for the server around this processor. For those who write one of their own; does nothing when
     * the address does not speak plain HTTP.
     *
     * @param address where this process listens; a wildcard address stands for loopback.
     * @param path the path of {@code /auth} there.
     */
    public void warmUp(InetSocketAddress address, String path) {
        WarmUp.http(address, path);
    }

    /** Answers one request. Never throws; waits for the handler, at most for its time. */
    public Reply process(HookOperation operation, byte[] body) {
        HookRoute.Parsed parsed;
        try {
            parsed = HookRoute.of(operation).parse(body);
        } catch (InvalidProtocolBufferException e) {
            return Reply.empty(400);
        }
        Optional<String> refusal;
        try {
            refusal = guard.refusal(parsed.meta(), body);
        } catch (RuntimeException e) {
            LOG.log(Level.ERROR, "the tenant secret provider failed", e);
            return failed(operation, parsed);
        }
        if (refusal.isPresent()) {
            LOG.log(Level.DEBUG, "{0} refused: {1}", operation, refusal.get());
            return new Reply(200, parsed.refuse().apply(refusal.get()));
        }
        return handle(operation, parsed);
    }

    private Reply handle(HookOperation operation, HookRoute.Parsed parsed) {
        Future<byte[]> answer;
        try {
            answer = handlers.submit(() -> parsed.answer().from(handler));
        } catch (RejectedExecutionException e) {
            warn("all handler threads are busy", operation);
            return Reply.empty(503);
        }
        try {
            return new Reply(200, answer.get(options.handlerBudget().toNanos(), TimeUnit.NANOSECONDS));
        } catch (TimeoutException e) {
            answer.cancel(true);
            warn("no answer within " + options.handlerBudget(), operation);
            return Reply.empty(503);
        } catch (ExecutionException e) {
            LOG.log(Level.ERROR, operation + ": the handler failed", e.getCause());
            return failed(operation, parsed);
        } catch (InterruptedException e) {
            answer.cancel(true);
            Thread.currentThread().interrupt();
            return Reply.empty(503);
        }
    }

    /**
     * A refusal would be taken for a bad token, which logs the user out, an answer without members for an empty group. But
     * a message that could not be checked is refused: after a 500 the gateway would let it pass.
     */
    private static Reply failed(HookOperation operation, HookRoute.Parsed parsed) {
        return operation == HookOperation.CHECK_MESSAGE
                ? new Reply(200, parsed.refuse().apply("handler error"))
                : Reply.empty(500);
    }

    /** At most one line in five seconds: an overload must not be made worse by its log. */
    private void warn(String what, HookOperation operation) {
        long now = System.nanoTime();
        long due = nextWarning.get();
        if (now - due >= 0 && nextWarning.compareAndSet(due, now + TimeUnit.SECONDS.toNanos(5))) {
            LOG.log(Level.WARNING, "{0}: {1}", operation, what);
        }
    }

    /** Interrupts handlers at work and takes no more. */
    @Override
    public void close() {
        handlers.shutdownNow();
    }

    private static ThreadFactory threadFactory() {
        AtomicInteger number = new AtomicInteger();
        return task -> {
            Thread thread = new Thread(task, "mics-hook-handler-" + number.incrementAndGet());
            thread.setDaemon(true);
            return thread;
        };
    }
}
