/** Unpacking a dump for somebody who ends early: whose fault that is he knows, and neither the dump nor the disk is blamed. */

import { createHash, randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import { zstdCompressSync } from 'node:zlib'
import t from 'tap'
import { unpackPart } from '../../../src/backup/dumps/read-dump.js'
import type { DumpOnDisk } from '../../../src/backup/dumps/read-dump.js'
import type { Test } from 'tap'

function dumpOf(t: Test, content: Buffer): DumpOnDisk {
  const dir = mkdtempSync(join(tmpdir(), 'sbu-'))
  t.teardown(() => rmSync(dir, { recursive: true }))
  const packed = zstdCompressSync(content)
  writeFileSync(join(dir, '0.zst'), packed)
  const sha256 = createHash('sha256').update(packed).digest('hex')
  return {
    id: '20261122T000000Z',
    engine: 'mysql',
    parts: [{ name: 'tables.sql', bytes: packed.byteLength, sha256 }],
    dir,
  }
}

const never = new AbortController().signal

t.test(
  'unpack: a target that closes early, with an error of its own or without a word, is not called a fault of the disk or of the dump',
  async t => {
    const dump = dumpOf(t, randomBytes(3_000_000))
    for (const how of ['without a word', 'EPIPE'] as const) {
      const target = new Writable({
        write(_chunk, _encoding, done) {
          const error = how === 'EPIPE' ? Object.assign(new Error('write EPIPE'), { code: 'EPIPE' }) : undefined
          this.destroy(error)
          done()
        },
      })
      target.on('error', () => {})
      const failure = await unpackPart(dump, 0, target, never).then(
        () => null,
        (error: unknown) => error as NodeJS.ErrnoException,
      )
      t.match(failure?.code, /^(EPIPE|ERR_STREAM_\w+)$/, how)
    }
  },
)

t.test('unpack: a disk that fails is named', async t => {
  const target = new Writable({
    write(_chunk, _encoding, done) {
      done(Object.assign(new Error('no space left'), { code: 'ENOSPC' }))
    },
  })
  await t.rejects(unpackPart(dumpOf(t, Buffer.alloc(100)), 0, target, never), { code: 'STORE_FULL' })
})
