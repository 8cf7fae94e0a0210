import { createHash } from 'node:crypto'
import { deflateSync, inflateSync } from 'node:zlib'
import fc from 'fast-check'
import t from 'tap'
import { NotWhatItsNameSays, verify } from '../../../src/shared/store/verify.js'
import type { ObjectKind, ObjectRef } from '../../../src/shared/store/object-store.js'

const STORE = '3f1c09aa-0000-4000-8000-000000000001'
const MIB = 1024 * 1024
const sha1 = (bytes: Buffer) => createHash('sha1').update(bytes).digest('hex')
const ref = (kind: ObjectKind, id: string): ObjectRef => ({ kind, storeId: STORE, id })
const refused = (message: string | RegExp) => ({ name: 'NotWhatItsNameSays', message })

const COMMIT_ID = 'ab'.repeat(20)
const COMMIT = Buffer.from(
  JSON.stringify({
    commit_id: COMMIT_ID,
    repo_id: STORE,
    root_id: 'cd'.repeat(20),
    creator: '0'.repeat(40),
    creator_name: 'jo@example.com',
    description: 'Added "a".',
    ctime: 1_700_000_000,
    parent_id: 'ef'.repeat(20),
    second_parent_id: null,
    repo_name: 'Photos',
    version: 1,
  }),
)
const DIRENT = { id: 'cd'.repeat(20), mode: 0o100644, modifier: 'jo@example.com', mtime: 1, name: 'a', size: 5 }
const DIR = Buffer.from(JSON.stringify({ dirents: [DIRENT, { ...DIRENT, name: 'b' }], type: 3, version: 1 }))

/** Every copy of `bytes` with one bit flipped. */
function* flips(bytes: Buffer): Generator<{ at: number; bit: number; flipped: Buffer }> {
  for (let at = 0; at < bytes.byteLength; at += 1) {
    for (let bit = 0; bit < 8; bit += 1) {
      const flipped = Buffer.from(bytes)
      flipped[at] = (bytes[at] as number) ^ (1 << bit)
      yield { at, bit, flipped }
    }
  }
}

/** What `verify` gives, or undefined when it refuses; any other error is passed on. */
function verified(of: ObjectRef, bytes: Buffer) {
  try {
    return verify(of, bytes)
  } catch (error) {
    if (error instanceof NotWhatItsNameSays) return undefined
    throw error
  }
}

t.test('verify: a block with any one bit flipped, cut or grown is refused', async t => {
  const block = Buffer.from('the content of a block, or what encryption made of it')
  const whole = ref('blocks', sha1(block))
  for (const { at, bit, flipped } of flips(block)) {
    t.throws(() => verify(whole, flipped), refused(`holds ${sha1(flipped).slice(0, 8)}`), `byte ${at}, bit ${bit}`)
  }
  for (let length = 1; length < block.byteLength; length += 1) {
    t.throws(() => verify(whole, block.subarray(0, length)), refused(/^holds /), `cut to ${length}`)
  }
  t.throws(() => verify(whole, Buffer.concat([block, Buffer.alloc(1)])), refused(/^holds /))
  t.match(verify(whole, block), { is: 'block', ref: whole })
})

for (const level of [0, 1, 6, 9]) {
  t.test(
    `verify: an fs object deflated at level ${level} with any one bit flipped says the same or is refused`,
    async t => {
      const bytes = deflateSync(DIR, { level })
      const whole = ref('fs', sha1(DIR))
      let harmless = 0
      for (const { at, bit, flipped } of flips(bytes)) {
        if (!verified(whole, flipped)) continue
        if (!inflateSync(flipped).equals(DIR)) t.fail(`byte ${at}, bit ${bit} is taken`)
        harmless += 1
      }
      t.ok(harmless < 8, `only bits that deflate pads its last byte with do no harm: ${harmless}`)
      for (let length = 1; length < bytes.byteLength; length += 1) {
        t.throws(() => verify(whole, bytes.subarray(0, length)), refused('cannot be inflated'), `cut to ${length}`)
      }
      const object = verify(whole, bytes)
      t.match(object, { is: 'fs', fs: { type: 'dir', entries: [{ name: 'a' }, { name: 'b' }] } })
      t.equal(object.bytes, bytes, 'the bytes travel on as they came')
    },
  )
}

t.test(
  'verify: an fs object with any one bit of its JSON flipped is refused, whatever the checksum of deflate says',
  async t => {
    const whole = ref('fs', sha1(DIR))
    for (const { at, bit, flipped } of flips(DIR)) {
      const refusal = refused(`holds ${sha1(flipped).slice(0, 8)}`)
      t.throws(() => verify(whole, deflateSync(flipped)), refusal, `byte ${at}, bit ${bit}`)
    }
  },
)

t.test('verify: an fs object that is named rightly but is no file and no directory is refused', async t => {
  const named = (json: Buffer) => verify(ref('fs', sha1(json)), deflateSync(json))
  t.throws(() => named(Buffer.alloc(0)), refused('is empty'))
  t.throws(() => named(Buffer.from('[]')), refused('is no JSON object'))
  t.throws(() => named(Buffer.from('{"type":2}')), refused(/^has type 2/))
  fc.assert(
    fc.property(fc.uint8Array(), some => {
      const json = Buffer.from(some)
      return verified(ref('fs', sha1(json)), deflateSync(json)) === undefined
    }),
  )
})

t.test(
  'verify: a commit with any one bit flipped is refused, or is a whole commit that still says its name',
  async t => {
    let taken = 0
    const whole = ref('commits', COMMIT_ID)
    const name = COMMIT.indexOf(COMMIT_ID)
    for (const { at, bit, flipped } of flips(COMMIT)) {
      const object = verified(whole, flipped)
      if (!object) continue
      taken += 1
      const json = JSON.parse(flipped.toString()) as Record<string, unknown>
      const same = object.is === 'commit' && object.commit.id === COMMIT_ID && json['commit_id'] === COMMIT_ID
      if (!same || (at >= name && at < name + 40)) t.fail(`byte ${at}, bit ${bit} is taken: ${flipped.toString()}`)
    }
    t.ok(taken > 0, 'a commit is taken at its word')
  },
)

t.test(
  'verify: a commit whose ids are damaged is refused; one whose description differs is taken at its word',
  async t => {
    const whole = ref('commits', COMMIT_ID)
    const changed = (from: string, to: string) => Buffer.from(COMMIT.toString().replace(from, to))
    t.throws(() => verify(whole, changed(COMMIT_ID, 'ac'.repeat(20))), refused(/^holds commit "acac/))
    t.throws(() => verify(whole, changed('cd'.repeat(20), 'CD'.repeat(20))), refused(/^not a fs id/))
    t.throws(() => verify(whole, changed('ef'.repeat(20), 'ef'.repeat(19))), refused(/^not a commit id/))
    t.throws(() => verify(whole, changed('1700000000', '"soon"')), refused(/^has ctime/))
    t.throws(() => verify(ref('commits', 'cd'.repeat(20)), COMMIT), refused(`holds commit "${COMMIT_ID}"`))
    t.match(verify(whole, changed('Added', 'Moved')), { is: 'commit', commit: { description: 'Moved "a".' } })
  },
)

t.test('verify: a commit cut anywhere is refused', async t => {
  for (let length = 1; length < COMMIT.byteLength; length += 1) {
    t.throws(() => verify(ref('commits', COMMIT_ID), COMMIT.subarray(0, length)), refused('is not JSON'), `${length}`)
  }
})

t.test('verify: nothing is what any name says, except an empty block that is named so', async t => {
  const none = Buffer.alloc(0)
  for (const kind of ['commits', 'fs', 'blocks'] as const) {
    t.throws(() => verify(ref(kind, COMMIT_ID), none), refused('is empty'), kind)
  }
  t.match(verify(ref('blocks', sha1(none)), none), { is: 'block' })
})

t.test('verify: any bytes under any name are refused with NotWhatItsNameSays, and with no other error', async t => {
  const kind = fc.constantFrom('commits' as const, 'fs' as const, 'blocks' as const)
  const any = fc.oneof(
    fc.uint8Array(),
    fc.jsonValue().map(value => Buffer.from(JSON.stringify(value))),
    fc.uint8Array().map(some => deflateSync(some)),
  )
  fc.assert(
    fc.property(kind, any, (of, bytes) => verified(ref(of, COMMIT_ID), Buffer.from(bytes)) === undefined),
    { numRuns: 1_000 },
  )
  t.pass('no counterexample')
})

t.test('verify: an fs object or commit nested deeper than any stack is refused by what is wrong with it', async t => {
  const deep = '['.repeat(100_000) + ']'.repeat(100_000)
  const fs = Buffer.from(`{"type":${deep}}`)
  t.throws(() => verify(ref('fs', sha1(fs)), deflateSync(fs)), refused(/^has type /))
  t.throws(() => verify(ref('commits', COMMIT_ID), Buffer.from(`{"commit_id":${deep}}`)), refused(/^holds commit /))
})

t.test(
  'verify: an fs object that inflates beyond 256 MiB is refused, though its name and its JSON are right',
  async t => {
    const bomb = Buffer.alloc(256 * MIB + 1, ' ')
    bomb.write('{"type":1,"size":0,"block_ids":[]}')
    const whole = ref('fs', sha1(bomb))
    const small = deflateSync(bomb, { level: 1 })
    t.ok(small.byteLength < 2 * MIB, `${small.byteLength} bytes`)
    t.throws(() => verify(whole, small), { ...refused('cannot be inflated'), cause: { code: 'ERR_BUFFER_TOO_LARGE' } })
  },
)

t.test('verify: a commit beyond 16 MiB is refused before it is read; one of 16 MiB is taken', async t => {
  const longest = Buffer.concat([COMMIT, Buffer.alloc(16 * MIB - COMMIT.byteLength, ' ')])
  t.match(verify(ref('commits', COMMIT_ID), longest), { is: 'commit' })
  const longer = Buffer.concat([longest, Buffer.from(' ')])
  t.throws(() => verify(ref('commits', COMMIT_ID), longer), refused(`has ${16 * MIB + 1} bytes`))
})
