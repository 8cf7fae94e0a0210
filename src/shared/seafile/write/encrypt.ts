/**
 * Encrypted libraries: how blocks are encrypted, and how the key is wrapped by the password.
 *
 * A library has one random secret. The key and IV of its blocks are derived from
 * it, and the commits carry it encrypted under a key that is derived from the
 * password; `magic` tells a right password from a wrong one without trying.
 * Replication needs none of this: it copies ciphertext. It is here for whoever
 * publishes a commit in such a library. Facts: seafile-server's
 * common/seafile-crypt.c, versions 2 and 4.
 */

import { createCipheriv, createDecipheriv, pbkdf2Sync, timingSafeEqual } from 'node:crypto'
import { BackupError } from '../../errors.js'
import { short } from '../../ids.js'
import type { RepoId } from '../../ids.js'
import type { Encryption } from '../encode.js'

export type EncryptionVersion = 2 | 4
export type RandomBytes = (size: number) => Buffer

/** Version 2 uses this one for every library; version 4 has a random one of 32 bytes in each. */
const FIXED_SALT = Buffer.from('da9045c306c7cc26', 'hex')
const KEY_ITERATIONS = 1000
const IV_ITERATIONS = 10
const KEY_BYTES = 32
const IV_BYTES = 16
const SALT_BYTES = 32
const CIPHER = 'aes-256-cbc'

/** Encrypts and decrypts the blocks of one library. */
export class FileKey {
  readonly #key: Buffer
  readonly #iv: Buffer

  constructor(derived: { readonly key: Buffer; readonly iv: Buffer }) {
    this.#key = derived.key
    this.#iv = derived.iv
  }

  /** One block, PKCS#7 padded: always 1 to 16 bytes longer. */
  encrypt(plain: Uint8Array): Buffer {
    const cipher = createCipheriv(CIPHER, this.#key, this.#iv)
    return Buffer.concat([cipher.update(plain), cipher.final()])
  }

  /** Throws when `block` was not encrypted under this key. */
  decrypt(block: Uint8Array): Buffer {
    const cipher = createDecipheriv(CIPHER, this.#key, this.#iv)
    return Buffer.concat([cipher.update(block), cipher.final()])
  }
}

/** A new library's secret under `password`, and the key of its blocks. */
export function newEncryption(
  repo: RepoId,
  { password, version }: { readonly password: string; readonly version: EncryptionVersion },
  random: RandomBytes,
): { encryption: Encryption; fileKey: FileKey } {
  const salt = version === 4 ? random(SALT_BYTES) : null
  const secret = random(KEY_BYTES)
  const encryption = {
    version,
    magic: magicOf(repo, password, salt),
    key: new FileKey(derive(password, salt)).encrypt(secret).toString('hex'),
    salt: salt?.toString('hex') ?? null,
    pwdHash: null,
  }
  return { encryption, fileKey: new FileKey(derive(secret, salt)) }
}

/** The same secret for a virtual library: only the magic differs, for it covers the library's id. */
export function encryptionOfVirtual(repo: RepoId, origin: Encryption, password: string): Encryption {
  return { ...origin, magic: magicOf(repo, password, saltOf(origin)) }
}

/** What a commit says about its library's encryption; null for a plain library. `commit`: bytes that were verified. */
export function readEncryption(commit: Uint8Array): Encryption | null {
  const json = JSON.parse(Buffer.from(commit).toString('utf8')) as Record<string, unknown>
  if (json['encrypted'] !== 'true' && json['encrypted'] !== true) return null
  const text = (key: string): string | null => (typeof json[key] === 'string' ? json[key] : null)
  const hash = text('pwd_hash')
  return {
    version: Number(json['enc_version']),
    magic: text('magic'),
    key: text('key'),
    salt: text('salt'),
    pwdHash: hash === null ? null : { hash, algo: text('pwd_hash_algo') ?? '', params: text('pwd_hash_params') ?? '' },
  }
}

/** True when `password` is the one that `encryption` of that library was made with. Throws BAD_REQUEST when that cannot be told. */
export function checkPassword(repo: RepoId, encryption: Encryption, password: string): boolean {
  expectSupported(repo, encryption)
  const magic = Buffer.from(encryption.magic ?? '', 'hex')
  const asked = Buffer.from(magicOf(repo, password, saltOf(encryption)), 'hex')
  return magic.byteLength === asked.byteLength && timingSafeEqual(magic, asked)
}

/** The key of the library's blocks. Throws BAD_REQUEST when the password is wrong. */
export function openFileKey(repo: RepoId, encryption: Encryption, password: string): FileKey {
  if (!checkPassword(repo, encryption, password)) {
    throw new BackupError('BAD_REQUEST', `unlock library ${short(repo)}: wrong password`, { repo })
  }
  const salt = saltOf(encryption)
  const secret = new FileKey(derive(password, salt)).decrypt(Buffer.from(encryption.key ?? '', 'hex'))
  return new FileKey(derive(secret, salt))
}

/**
 * As `openFileKey`, also where a password hash stands in place of the magic (Seafile 11 and newer): that one decides
 * who may try, the key is wrapped as ever. A wrong password then does not unwrap it, but for one in some hundreds, which
 * decrypts no block.
 */
export function tryFileKey(repo: RepoId, encryption: Encryption, password: string): FileKey {
  const { magic, pwdHash, key, version } = encryption
  if (magic !== null || pwdHash === null) return openFileKey(repo, encryption, password)
  expectSupported(repo, { ...encryption, magic: '' })
  const salt = saltOf(encryption)
  try {
    const secret = new FileKey(derive(password, salt)).decrypt(Buffer.from(key ?? '', 'hex'))
    return new FileKey(derive(secret, salt))
  } catch (cause) {
    throw new BackupError('BAD_REQUEST', `unlock library ${short(repo)}: wrong password`, { repo, version }, { cause })
  }
}

function expectSupported(repo: RepoId, { version, magic, key }: Encryption): void {
  if ((version === 2 || version === 4) && magic !== null && key !== null) return
  const what = magic === null ? 'a configured password hash' : `encryption version ${version}`
  throw new BackupError('BAD_REQUEST', `unlock library ${short(repo)}: ${what} is not supported`, { repo, version })
}

const saltOf = ({ salt }: Encryption): Buffer | null => (salt === null ? null : Buffer.from(salt, 'hex'))

const magicOf = (repo: RepoId, password: string, salt: Buffer | null): string =>
  derive(repo + password, salt).key.toString('hex')

function derive(from: string | Buffer, salt: Buffer | null): { key: Buffer; iv: Buffer } {
  const key = pbkdf2Sync(from, salt ?? FIXED_SALT, KEY_ITERATIONS, KEY_BYTES, 'sha256')
  return { key, iv: pbkdf2Sync(key, salt ?? FIXED_SALT, IV_ITERATIONS, IV_BYTES, 'sha256') }
}
