package com.mics.hooksdk;

import com.google.protobuf.CodedInputStream;
import com.google.protobuf.CodedOutputStream;
import com.google.protobuf.WireFormat;
import java.io.ByteArrayOutputStream;
import java.io.IOException;

/**
 * Takes single fields out of protobuf bytes without decoding the rest. Signatures are checked over what was received,
 * so fields that this SDK does not know are covered and do no harm.
 */
final class WireBytes {
    private static final int META = 1;
    private static final int META_SIGN = 4;
    private static final int EVENT_SIGN = 11;

    private WireBytes() {}

    /** The bytes of a hook request without {@code meta.sign}. */
    static byte[] hookRequestWithoutSign(byte[] request) throws IOException {
        return rewrite(request, META, meta -> rewrite(meta, META_SIGN, null));
    }

    /** The bytes of an {@code MqEvent} without {@code sign}. */
    static byte[] eventWithoutSign(byte[] event) throws IOException {
        return rewrite(event, EVENT_SIGN, null);
    }

    private interface Change {
        byte[] apply(byte[] field) throws IOException;
    }

    /** Copies all fields but {@code number}, which is changed or, with null, left out. */
    private static byte[] rewrite(byte[] message, int number, Change change) throws IOException {
        CodedInputStream in = CodedInputStream.newInstance(message);
        ByteArrayOutputStream out = new ByteArrayOutputStream(message.length);
        while (true) {
            int start = in.getTotalBytesRead();
            int tag = in.readTag();
            if (tag == 0) {
                return out.toByteArray();
            }
            boolean ours = WireFormat.getTagFieldNumber(tag) == number
                    && WireFormat.getTagWireType(tag) == WireFormat.WIRETYPE_LENGTH_DELIMITED;
            if (!ours) {
                in.skipField(tag);
                out.write(message, start, in.getTotalBytesRead() - start);
                continue;
            }
            byte[] field = in.readByteArray();
            if (change != null) {
                writeField(out, number, change.apply(field));
            }
        }
    }

    private static void writeField(ByteArrayOutputStream out, int number, byte[] value) throws IOException {
        CodedOutputStream coded = CodedOutputStream.newInstance(out, value.length + 16);
        coded.writeByteArray(number, value);
        coded.flush();
    }
}
