import t from 'tap'
import { parseRepoId } from '../../../src/shared/ids.js'
import {
  checkPassword,
  encryptionOfVirtual,
  newEncryption,
  openFileKey,
} from '../../../src/shared/seafile/write/encrypt.js'
import type { Encryption } from '../../../src/shared/seafile/encode.js'

const REPO = parseRepoId('3ffd0615-d217-4ccc-b841-43d45ae403d2')
const OTHER = parseRepoId('a02160b8-29d7-4934-b90c-57d923ef2e27')
const PASSWORD = 'pässword'
const sevens = (size: number): Buffer => Buffer.alloc(size, 7)

/** By Python's hashlib, the openssl command and libcrypto's EVP_BytesToKey: all random bytes are 7, the block is "hello". */
const KNOWN = [
  {
    version: 1,
    magic: 'a6ba6a06488a8c8d9e13f06184d5fefd',
    key: null,
    salt: null,
    block: '0ccc43a1b41292aab6516f5e7ed80922',
  },
  {
    version: 2,
    magic: 'b3a22089e77ec6709c6377f51cdcd067845db3baa93d54dd11a6221a1cb07295',
    key: '5afc606291ad422327a59c0c18b8f7e536a6debb789ca8df6817e25db55a9e6549251db049fc2a701b4782925ce249d7',
    salt: null,
    block: '3e5a0702a8a8433c90164f36a25c7f61',
  },
  {
    version: 3,
    magic: '49da09ee0c1ed077835de76e8ea40430b84df059775ab657e588677e0853fdde',
    key: '67ce0b963b66c8a8ce6a90f32cee9fb467ce0b963b66c8a8ce6a90f32cee9fb4d440d02988b904a7bfe6a1b29ebd9e07',
    salt: '07'.repeat(32),
    block: 'f53bd125495908aadbab198c6b3be536',
  },
  {
    version: 4,
    magic: '49da09ee0c1ed077835de76e8ea40430b84df059775ab657e588677e0853fdde',
    key: 'b3d03d23a13ff8974c2049117d39744b71af3dce4cd9f7145e639389a0dfa39f57b38226b52d0b9f37e79f9f13239ed0',
    salt: '07'.repeat(32),
    block: 'a9ad51b2239f203d851b0db44f0fd4d3',
  },
] as const

for (const { version, block, ...fields } of KNOWN) {
  t.test(`encrypt: version ${version} gives what others give`, async t => {
    const { encryption, fileKey } = newEncryption(REPO, { password: PASSWORD, version }, sevens)

    t.same(encryption, { version, ...fields, pwdHash: null })
    t.equal(fileKey.encrypt(Buffer.from('hello')).toString('hex'), block)
    t.equal(openFileKey(REPO, encryption, PASSWORD).decrypt(Buffer.from(block, 'hex')).toString(), 'hello')
  })
}

t.test('encrypt: a password is right for one library only', async t => {
  const { encryption } = newEncryption(REPO, { password: PASSWORD, version: 4 }, sevens)

  t.equal(checkPassword(REPO, encryption, PASSWORD), true)
  t.equal(checkPassword(REPO, encryption, `${PASSWORD} `), false)
  t.equal(checkPassword(OTHER, encryption, PASSWORD), false)
  const virtual = encryptionOfVirtual(OTHER, encryption, PASSWORD)
  t.equal(checkPassword(OTHER, virtual, PASSWORD), true)
  t.same({ ...virtual, magic: encryption.magic }, encryption, 'nothing else differs')
})

t.test('encrypt: a block of another key, or with a byte changed, does not decrypt to what it was', async t => {
  const { fileKey } = newEncryption(REPO, { password: PASSWORD, version: 2 }, sevens)
  const block = fileKey.encrypt(Buffer.from('hello'))

  t.throws(() => fileKey.decrypt(block.subarray(0, 15)))
  const { fileKey: other } = newEncryption(REPO, { password: PASSWORD, version: 4 }, sevens)
  t.throws(() => other.decrypt(block))
})

t.test('encrypt: what it cannot open is refused, not guessed at', async t => {
  const { encryption } = newEncryption(REPO, { password: PASSWORD, version: 2 }, sevens)
  const pwdHash = { hash: 'ab'.repeat(32), algo: 'argon2id', params: '2,102400,8' }
  const refused: Encryption[] = [
    { ...encryption, version: 0 },
    { ...encryption, version: 3 }, // without a salt
    { ...encryption, version: 4, salt: '07' },
    { ...encryption, version: 5 },
    { ...encryption, magic: null, pwdHash },
    { ...encryption, key: null },
  ]
  for (const one of refused) t.throws(() => openFileKey(REPO, one, PASSWORD), { code: 'BAD_REQUEST' })
})
