/**
 * Encrypted libraries: how blocks are encrypted, and how the key is wrapped by the password.
 *
 * A library has one random secret. The key and IV of its blocks are derived from
 * it, and the commits carry it encrypted under a key that is derived from the
 * password; `magic` tells a right password from a wrong one without trying.
 * Replication needs none of this: it copies ciphertext. It is here for whoever
 * publishes a commit in such a library. Facts: seafile-server's
 * common/seafile-crypt.c, of which these are the versions:
 *
 *   1  AES-128-CBC, key and IV from the password itself (EVP_BytesToKey): no random secret, and slow
 *   2  AES-256-CBC, the salt of all libraries
 *   3  AES-128-ECB, a salt of its own
 *   4  AES-256-CBC, a salt of its own
 */

import { createCipheriv, createDecipheriv, hash, pbkdf2Sync, timingSafeEqual } from 'node:crypto'
import { BackupError } from '../../errors.js'
import { short } from '../../ids.js'
import type { RepoId } from '../../ids.js'
import type { Encryption } from '../encode.js'

export type EncryptionVersion = 1 | 2 | 3 | 4
export type RandomBytes = (size: number) => Buffer

/** Versions 1 and 2 use this one for every library; 3 and 4 have a random one of 32 bytes in each. */
const FIXED_SALT = Buffer.from('da9045c306c7cc26', 'hex')
/** Version 1: a second or so for each key. */
const SHA1_ITERATIONS = 2 ** 19
const KEY_ITERATIONS = 1000
const IV_ITERATIONS = 10
const KEY_BYTES = 32
const IV_BYTES = 16
const SALT_BYTES = 32
const SHORT_KEY_BYTES = 16
const CIPHERS = { 1: 'aes-128-cbc', 2: 'aes-256-cbc', 3: 'aes-128-ecb', 4: 'aes-256-cbc' } as const

interface Derived {
  readonly key: Buffer
  readonly iv: Buffer
}

/** Encrypts and decrypts the blocks of one library. */
export class FileKey {
  readonly #cipher: (typeof CIPHERS)[EncryptionVersion]
  readonly #key: Buffer
  readonly #iv: Buffer | null

  constructor(version: EncryptionVersion, { key, iv }: Derived) {
    this.#cipher = CIPHERS[version]
    this.#key = this.#cipher === 'aes-256-cbc' ? key : key.subarray(0, SHORT_KEY_BYTES)
    this.#iv = this.#cipher === 'aes-128-ecb' ? null : iv
  }

  /** One block, PKCS#7 padded: always 1 to 16 bytes longer. */
  encrypt(plain: Uint8Array): Buffer {
    const cipher = createCipheriv(this.#cipher, this.#key, this.#iv)
    return Buffer.concat([cipher.update(plain), cipher.final()])
  }

  /** Throws when `block` was not encrypted under this key. */
  decrypt(block: Uint8Array): Buffer {
    const cipher = createDecipheriv(this.#cipher, this.#key, this.#iv)
    return Buffer.concat([cipher.update(block), cipher.final()])
  }
}

/** A new library's secret under `password`, and the key of its blocks. */
export function newEncryption(
  repo: RepoId,
  { password, version }: { readonly password: string; readonly version: EncryptionVersion },
  random: RandomBytes,
): { encryption: Encryption; fileKey: FileKey } {
  const way = { version, salt: version >= 3 ? random(SALT_BYTES) : FIXED_SALT }
  const magic = magicOf(repo, password, way)
  const salt = version >= 3 ? way.salt.toString('hex') : null
  const ofPassword = new FileKey(version, derive(password, way))
  if (version === 1) return { encryption: { version, magic, key: null, salt, pwdHash: null }, fileKey: ofPassword }
  const secret = random(KEY_BYTES)
  const key = ofPassword.encrypt(secret).toString('hex')
  return {
    encryption: { version, magic, key, salt, pwdHash: null },
    fileKey: new FileKey(version, derive(secret, way)),
  }
}

/** The same secret for a virtual library: only the magic differs, for it covers the library's id. */
export function encryptionOfVirtual(repo: RepoId, origin: Encryption, password: string): Encryption {
  return { ...origin, magic: magicOf(repo, password, wayOf(repo, origin)) }
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
  const way = wayOf(repo, encryption)
  if (encryption.magic === null) throw notSupported(repo, encryption, 'a configured password hash')
  const magic = Buffer.from(encryption.magic, 'hex')
  const asked = Buffer.from(magicOf(repo, password, way), 'hex')
  return magic.byteLength === asked.byteLength && timingSafeEqual(magic, asked)
}

/** The key of the library's blocks. Throws BAD_REQUEST when the password is wrong. */
export function openFileKey(repo: RepoId, encryption: Encryption, password: string): FileKey {
  if (!checkPassword(repo, encryption, password)) {
    throw new BackupError('BAD_REQUEST', `unlock library ${short(repo)}: wrong password`, { repo })
  }
  return unwrapped(repo, encryption, password)
}

/**
 * As `openFileKey`, also where a password hash stands in place of the magic (Seafile 11 and newer): that one decides
 * who may try, the key is wrapped as ever. A wrong password then does not unwrap it, but for one in some hundreds, which
 * decrypts no block. Version 1 wraps nothing, and any password would give a key: BAD_REQUEST without a magic.
 */
export function tryFileKey(repo: RepoId, encryption: Encryption, password: string): FileKey {
  const { magic, pwdHash, version } = encryption
  if (magic !== null || pwdHash === null || version === 1) return openFileKey(repo, encryption, password)
  wayOf(repo, encryption)
  try {
    return unwrapped(repo, encryption, password)
  } catch (cause) {
    throw new BackupError('BAD_REQUEST', `unlock library ${short(repo)}: wrong password`, { repo, version }, { cause })
  }
}

function unwrapped(repo: RepoId, encryption: Encryption, password: string): FileKey {
  const way = wayOf(repo, encryption)
  const ofPassword = new FileKey(way.version, derive(password, way))
  if (way.version === 1) return ofPassword
  const secret = ofPassword.decrypt(Buffer.from(encryption.key ?? '', 'hex'))
  return new FileKey(way.version, derive(secret, way))
}

/** How keys are derived. */
interface Way {
  readonly version: EncryptionVersion
  readonly salt: Buffer
}

/** Throws BAD_REQUEST for what is no version that is known, or lacks what it needs. */
function wayOf(repo: RepoId, encryption: Encryption): Way {
  const { version, key, salt } = encryption
  if (!isKnown(version)) throw notSupported(repo, encryption, `encryption version ${version}`)
  if (version !== 1 && key === null) throw notSupported(repo, encryption, `version ${version} without a key`)
  if (version <= 2) return { version, salt: FIXED_SALT }
  const own = Buffer.from(salt ?? '', 'hex')
  if (own.byteLength !== SALT_BYTES) throw notSupported(repo, encryption, `version ${version} without a salt`)
  return { version, salt: own }
}

const isKnown = (version: number): version is EncryptionVersion => Object.hasOwn(CIPHERS, version)

const notSupported = (repo: RepoId, { version }: Encryption, what: string): BackupError =>
  new BackupError('BAD_REQUEST', `unlock library ${short(repo)}: ${what} is not supported`, { repo, version })

function magicOf(repo: RepoId, password: string, way: Way): string {
  const { key } = derive(repo + password, way)
  return key.toString('hex')
}

function derive(from: string | Buffer, { version, salt }: Way): Derived {
  if (version === 1) return bytesToKey(Buffer.from(from), salt)
  const key = pbkdf2Sync(from, salt, KEY_ITERATIONS, KEY_BYTES, 'sha256')
  return { key, iv: pbkdf2Sync(key, salt, IV_ITERATIONS, IV_BYTES, 'sha256') }
}

/** OpenSSL's EVP_BytesToKey for aes-128-cbc with SHA-1: each digest is of the one before it, the password and the salt. */
function bytesToKey(password: Buffer, salt: Buffer): Derived {
  let bytes = Buffer.alloc(0)
  let digest = Buffer.alloc(0)
  while (bytes.byteLength < SHORT_KEY_BYTES + IV_BYTES) {
    digest = Buffer.concat([digest, password, salt])
    for (let i = 0; i < SHA1_ITERATIONS; i++) digest = hash('sha1', digest, 'buffer')
    bytes = Buffer.concat([bytes, digest])
  }
  return {
    key: bytes.subarray(0, SHORT_KEY_BYTES),
    iv: bytes.subarray(SHORT_KEY_BYTES, SHORT_KEY_BYTES + IV_BYTES),
  }
}
