/** The walk of verify, restore and drill, over trees that no test server would make. */

import { createHash } from 'node:crypto'
import { deflateSync } from 'node:zlib'
import t from 'tap'
import { LibraryCheck } from '../../../src/backup/verify/library-check.js'
import { EMPTY_ID } from '../../../src/shared/ids.js'
import { DiskObjectStore } from '../../../src/shared/store/disk-object-store.js'
import { verify } from '../../../src/shared/store/verify.js'
import { REPO, TempDir, commitIdOf } from '../../support/objects.js'
import type { ObjectRef } from '../../../src/shared/store/object-store.js'

const never = new AbortController().signal
const HEAD = commitIdOf('head')

t.test('library check: a directory of half a million entries is walked as any other', async t => {
  using dir = new TempDir()
  const store = new DiskObjectStore(dir.path)
  store.prepare()
  const batch = store.openBatch()
  const put = (ref: ObjectRef, bytes: Buffer) => batch.put(verify(ref, bytes))
  const dirents = Array.from({ length: 500_000 }, (_, i) => ({
    id: EMPTY_ID,
    mode: 33188,
    mtime: 1,
    name: `f${i}`,
    size: 0,
  }))
  const json = Buffer.from(JSON.stringify({ dirents, type: 3, version: 1 }))
  const root = createHash('sha1').update(json).digest('hex')
  await put({ kind: 'fs', storeId: REPO, id: root }, deflateSync(json, { level: 1 }))
  const commit = { commit_id: HEAD, repo_id: REPO, root_id: root, creator: EMPTY_ID, ctime: 1, parent_id: null }
  await put({ kind: 'commits', storeId: REPO, id: HEAD }, Buffer.from(JSON.stringify(commit)))
  await batch.commit(never)

  const library = { repo: REPO, head: HEAD, storeId: REPO, baseCommit: null, truncateTime: -1 }
  const check = new LibraryCheck(store, library, { history: true, readData: true }, () => {})

  t.strictSame(await Array.fromAsync(check.findings(never)), [])
  t.match(check.counts, { commits: 1, fs: 1, blocks: 0 })
})
