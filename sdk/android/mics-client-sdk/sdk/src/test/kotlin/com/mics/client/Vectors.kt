package com.mics.client

import com.google.gson.JsonElement
import com.google.gson.JsonObject
import com.google.gson.JsonParser
import com.google.protobuf.ByteString
import java.io.File

/** The vectors that all SDKs share, in `proto/vectors`. */
internal object Vectors {
    fun file(name: String): JsonObject = JsonParser.parseString(File("../../../../proto/vectors/$name").readText()).asJsonObject
}

internal fun JsonObject.list(name: String): List<JsonObject> = getAsJsonArray(name).map(JsonElement::getAsJsonObject)

internal fun JsonObject.text(name: String): String = get(name).asString

internal fun unhex(hex: String): ByteArray = hex.chunked(2).map { it.toInt(16).toByte() }.toByteArray()

internal fun hex(bytes: ByteArray): String = bytes.joinToString("") { "%02x".format(it) }

internal fun utf8(text: String): ByteString = ByteString.copyFromUtf8(text)
