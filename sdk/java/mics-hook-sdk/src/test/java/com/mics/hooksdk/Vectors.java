package com.mics.hooksdk;

import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HexFormat;
import java.util.List;

/** The vectors that all SDKs share, in {@code proto/vectors}. */
final class Vectors {
    private Vectors() {}

    static List<JsonObject> of(String file) {
        try {
            String text = Files.readString(Path.of("../../../proto/vectors", file));
            return JsonParser.parseString(text).getAsJsonObject().getAsJsonArray("vectors").asList().stream()
                    .map(JsonElement::getAsJsonObject)
                    .toList();
        } catch (IOException e) {
            throw new IllegalStateException(e);
        }
    }

    static byte[] bytes(JsonObject vector, String field) {
        return HexFormat.of().parseHex(vector.get(field).getAsString());
    }
}
