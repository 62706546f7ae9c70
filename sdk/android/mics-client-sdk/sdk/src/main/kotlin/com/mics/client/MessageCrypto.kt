package com.mics.client

import java.security.GeneralSecurityException
import java.security.SecureRandom
import javax.crypto.Cipher
import javax.crypto.spec.GCMParameterSpec
import javax.crypto.spec.SecretKeySpec

/**
 * End-to-end encryption of message bodies. Called for non-empty bodies only: [encrypt] once per send on the caller's
 * thread, [decrypt] once per delivery on the connection's thread. What [decrypt] throws marks the delivery as
 * [MicsDelivery.decryptFailed].
 */
public interface MessageCrypto {
    /** Gives the bytes to put on the wire. */
    public fun encrypt(plaintext: ByteArray): ByteArray

    /** Gives back what [encrypt] was given. */
    public fun decrypt(ciphertext: ByteArray): ByteArray
}

/**
 * AES-GCM with the envelope of all MICS client SDKs: `0x01 | nonce (12) | tag (16) | ciphertext`, no associated data.
 * An empty body stays empty.
 *
 * @param key 16, 24 or 32 bytes, shared by sender and recipient; otherwise [IllegalArgumentException].
 */
public class AesGcmMessageCrypto(key: ByteArray) : MessageCrypto {
    private val key: SecretKeySpec
    private val random = SecureRandom()

    init {
        require(key.size == 16 || key.size == 24 || key.size == 32) { "key must have 16, 24 or 32 bytes" }
        this.key = SecretKeySpec(key, "AES")
    }

    override fun encrypt(plaintext: ByteArray): ByteArray =
        if (plaintext.isEmpty()) plaintext else seal(ByteArray(NONCE).also(random::nextBytes), plaintext)

    /** @throws GeneralSecurityException when this is no envelope, has another key, or was changed. */
    override fun decrypt(ciphertext: ByteArray): ByteArray {
        if (ciphertext.isEmpty()) return ciphertext
        if (ciphertext.size < HEADER || ciphertext[0] != VERSION) {
            throw GeneralSecurityException("body is not an encryption envelope")
        }
        val cipher = cipher(Cipher.DECRYPT_MODE, ciphertext.copyOfRange(1, 1 + NONCE))
        // Java wants the tag behind the text, the envelope has it before.
        val text = ciphertext.copyOfRange(HEADER, ciphertext.size)
        val tag = ciphertext.copyOfRange(1 + NONCE, HEADER)
        return cipher.doFinal(text + tag)
    }

    internal fun seal(nonce: ByteArray, plaintext: ByteArray): ByteArray {
        val sealed = cipher(Cipher.ENCRYPT_MODE, nonce).doFinal(plaintext)
        val envelope = ByteArray(HEADER + plaintext.size)
        envelope[0] = VERSION
        nonce.copyInto(envelope, 1)
        sealed.copyInto(envelope, 1 + NONCE, plaintext.size, plaintext.size + TAG)
        sealed.copyInto(envelope, HEADER, 0, plaintext.size)
        return envelope
    }

    private fun cipher(mode: Int, nonce: ByteArray): Cipher =
        Cipher.getInstance("AES/GCM/NoPadding").apply { init(mode, key, GCMParameterSpec(TAG * 8, nonce)) }

    private companion object {
        const val VERSION: Byte = 1
        const val NONCE = 12
        const val TAG = 16
        const val HEADER = 1 + NONCE + TAG
    }
}
