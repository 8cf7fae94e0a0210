import { execFile } from 'node:child_process'
import { mkdtemp, readdir, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isDeepStrictEqual, promisify } from 'node:util'
import { inflateSync } from 'node:zlib'
import fc from 'fast-check'
import t from 'tap'
import { parseFsId, parseRepoId } from '../../../src/shared/ids.js'
import { commitForm } from '../../../src/shared/seafile/commit-id.js'
import { byNameDescending, deflateFs, encodeCommit, encodeFs } from '../../../src/shared/seafile/encode.js'
import { parseCommit, parseFs } from '../../../src/shared/seafile/objects.js'
import { readEncryption } from '../../../src/shared/seafile/write/encrypt.js'
import { FIXTURES, without } from './support.js'
import type { CommitId } from '../../../src/shared/ids.js'
import type { CommitFields } from '../../../src/shared/seafile/encode.js'

/** Every object of one kind that a real server left in the fixtures, with its name. */
async function* fixtureObjects(dir: string, kind: 'commits' | 'fs'): AsyncGenerator<[id: string, bytes: Buffer]> {
  const names = new RegExp(`/storage/${kind}/[^/]+/([0-9a-f]{2})/([0-9a-f]{38})$`)
  for (const entry of await readdir(dir, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name)
    const match = names.exec(path)
    if (entry.isFile() && match) yield [`${match[1]}${match[2]}`, await readFile(path)]
  }
}

t.test('encode: what a real server wrote comes out the same', { skip: without(FIXTURES) }, async t => {
  const dir = await mkdtemp(join(tmpdir(), 'fixtures-'))
  t.teardown(() => rm(dir, { recursive: true, force: true }))
  for (const name of ['sqlite-small', 'mysql-small', 'timeline-sqlite']) {
    await promisify(execFile)('tar', ['--zstd', '-xf', join(FIXTURES, `${name}.tar.zst`), '-C', dir])
  }

  t.test('every fs object: inflated bytes and id', async t => {
    let seen = 0
    for await (const [id, bytes] of fixtureObjects(dir, 'fs')) {
      const json = inflated(bytes)
      if (!json) continue // damaged on purpose
      const encoded = encodeFs(parseFs(json))
      if (!encoded.json.equals(json)) t.fail(`${id} differs: ${encoded.json.toString()}`)
      if (encoded.id === id) seen += 1
    }
    t.ok(seen > 300, `${seen} objects are the same`)
  })

  t.test('every commit: bytes, and an id that one of the two algorithms gives', async t => {
    let seen = 0
    for await (const [id, bytes] of fixtureObjects(dir, 'commits')) {
      const fields = commitFields(id, bytes)
      if (!fields) continue // damaged on purpose
      const form = commitForm(id, fields)
      if (!form) t.fail(`${id} matches neither algorithm`)
      const encoded = encodeCommit(form ?? 'c', fields)
      if (!encoded.bytes.equals(bytes)) t.fail(`${id} differs: ${encoded.bytes.toString()} from ${bytes.toString()}`)
      seen += 1
    }
    t.ok(seen > 100, `${seen} commits are the same`)
  })
})

function inflated(bytes: Buffer): Buffer | undefined {
  try {
    return inflateSync(bytes)
  } catch {
    return undefined
  }
}

function commitFields(id: string, bytes: Buffer): CommitFields | undefined {
  if (bytes.byteLength === 0) return undefined
  const commit = parseCommit(id, bytes)
  const raw = JSON.parse(bytes.toString('utf8')) as Record<string, string | number | undefined>
  return {
    ...commit,
    encryption: readEncryption(bytes),
    ...(raw['device_name'] === undefined ? {} : { deviceName: String(raw['device_name']) }),
    ...(raw['client_version'] === undefined ? {} : { clientVersion: String(raw['client_version']) }),
    noLocalHistory: raw['no_local_history'] === 1,
    newMerge: raw['new_merge'] === 1,
    conflict: raw['conflict'] === 1,
  }
}

const PLAIN: CommitFields = {
  repoId: parseRepoId('a02160b8-29d7-4934-b90c-57d923ef2e27'),
  rootId: parseFsId('0'.repeat(40)),
  parentId: 'a'.repeat(40) as CommitId,
  secondParentId: null,
  creator: '0'.repeat(40),
  creatorName: 'owner@real.test',
  description: 'Added "a <b> & \u2028.txt".\n\u0001',
  ctime: 1795204325,
  repoName: 'Üñï 文',
  repoDesc: '',
  encryption: null,
}

t.test('encode: a commit of the Go server is compact, HTML-safe and hashed without NULs', async t => {
  const { id, bytes } = encodeCommit('go', PLAIN)

  t.equal(commitForm(id, PLAIN), 'go')
  t.equal(
    bytes.toString('utf8'),
    `{"commit_id":"${id}","repo_id":"${PLAIN.repoId}","root_id":"${PLAIN.rootId}","creator_name":"owner@real.test",` +
      `"creator":"${PLAIN.creator}","description":"Added \\"a \\u003cb\\u003e \\u0026 \\u2028.txt\\".\\n\\u0001",` +
      `"ctime":1795204325,"parent_id":"${PLAIN.parentId}","second_parent_id":null,"repo_name":"Üñï 文",` +
      `"repo_desc":"","repo_category":"","encrypted":"false","version":1}`,
  )
  t.equal(parseCommit(id, bytes).description, PLAIN.description)
})

t.test('encode: a commit of the C server escapes only what JSON must', async t => {
  const { id, bytes } = encodeCommit('c', { ...PLAIN, description: '<&>\u2028"\\\u001f\u007f/\t' })

  t.match(bytes.toString('utf8'), '"description": "<&>\u2028\\"\\\\\\u001F\u007f/\\t"')
  t.notSame(id, encodeCommit('go', PLAIN).id)
})

t.test('encode: an empty directory and an empty file have the id of forty zeros', async t => {
  t.match(encodeFs({ type: 'dir', entries: [] }).id, /^0{40}$/)
  t.match(encodeFs({ type: 'file', size: 0, blocks: [] }).id, /^0{40}$/)
})

t.test('encode: any directory is read back as it was, and inflates to what its id is of', async t => {
  const fields = {
    name: fc.string({ unit: 'binary', minLength: 1 }).filter(name => name.isWellFormed()),
    id: fc.constant(parseFsId('ab'.repeat(20))),
    mode: fc.constantFrom(0o100644, 0o100755),
    mtime: fc.nat(),
    modifier: fc.string(),
    size: fc.maxSafeNat(),
  }
  const entry = fc.record(fields, { noNullPrototype: true })
  fc.assert(
    fc.property(fc.array(entry, { minLength: 1 }), entries => {
      const { json } = encodeFs({ type: 'dir', entries })
      const back = parseFs(inflateSync(deflateFs(json)))
      return isDeepStrictEqual(back, { type: 'dir', entries })
    }),
  )
  t.pass('no counterexample')
})

t.test('encode: names sort by their UTF-8 bytes, largest first', async t => {
  const name = fc.string({ unit: 'binary' }).filter(text => text.isWellFormed())
  fc.assert(
    fc.property(name, name, (a, b) => {
      const expected = Buffer.compare(Buffer.from(b), Buffer.from(a))
      return Math.sign(byNameDescending({ name: a }, { name: b })) === expected
    }),
  )
  t.ok(byNameDescending({ name: '\u{1f600}' }, { name: '\uffee' }) < 0, 'a surrogate pair is above all else')
})
