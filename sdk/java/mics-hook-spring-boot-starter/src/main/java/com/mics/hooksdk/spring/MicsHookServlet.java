package com.mics.hooksdk.spring;

import com.mics.hooksdk.HookOperation;
import com.mics.hooksdk.MicsHookProcessor;
import jakarta.servlet.http.HttpServlet;
import jakarta.servlet.http.HttpServletRequest;
import jakarta.servlet.http.HttpServletResponse;
import java.io.IOException;

/** A servlet, not a controller, because signatures are over the bytes as they came. */
class MicsHookServlet extends HttpServlet {
    private final transient MicsHookProcessor processor;

    MicsHookServlet(MicsHookProcessor processor) {
        this.processor = processor;
    }

    @Override
    protected void doPost(HttpServletRequest request, HttpServletResponse response) throws IOException {
        int limit = processor.options().maxBodyBytes();
        if (!MicsHookProcessor.isProtobufContentType(request.getContentType())) {
            response.setStatus(415);
            return;
        }
        byte[] body = request.getContentLengthLong() > limit ? null : request.getInputStream().readNBytes(limit + 1);
        if (body == null || body.length > limit) {
            response.setStatus(413);
            return;
        }
        HookOperation operation = HookOperation.ofPath(request.getServletPath()).orElseThrow();
        MicsHookProcessor.Reply reply = processor.process(operation, body);
        response.setStatus(reply.status());
        if (reply.status() == 200) {
            response.setContentType(MicsHookProcessor.CONTENT_TYPE);
            response.setContentLength(reply.body().length);
            response.getOutputStream().write(reply.body());
        }
    }
}
