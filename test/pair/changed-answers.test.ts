/** Somebody on a line without TLS who changes answers, and has no token: nothing that he changed is stored, or said in the primary's name. */

import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { Pair } from '../support/pair.js'
import { sameBytes } from '../support/replica.js'
import { overwritten } from '../support/rough-line.js'
import type { CommitId, RepoId } from '../../src/shared/ids.js'

/** Chunks are not packed: he would have to unpack them, as he can. */
const PLAIN = { primary: { conf: ['max_cpu = 1600'] } }
const HEAD_FILES = 1_500

interface Line {
  forges: boolean
}

/** What the agent answers is overwritten from now on, until `forges` is false. */
function forgery(pair: Pair, said: string, other: string): Line {
  const line: Line = { forges: true }
  const { relay } = pair.primary
  relay.roughness = direction => (direction === 'fromTarget' ? overwritten(said, other, () => line.forges) : undefined)
  relay.resetAll() // what is connected goes another way
  return line
}

/** A library whose history has `commits`, oldest first, and more files in its head than one batch of the store takes. */
async function library(pair: Pair, commits: number): Promise<{ repo: RepoId; ids: readonly CommitId[] }> {
  const writer = await pair.writer()
  const repo = await writer.createLibrary({ name: 'Letters', owner: 'jo@example.com' })
  const ids: CommitId[] = []
  const now = Math.floor(Date.now() / 1000)
  for (let n = 0; n < commits; n++) {
    const put = (path: string) => ({ op: 'put', path, content: Buffer.from(`${repo} ${n} ${path}`) }) as const
    const files = n < commits - 1 ? ['/letter'] : Array.from({ length: HEAD_FILES }, (_, file) => `/letter ${file}`)
    ids.push(
      await writer.commit(repo, files.map(put), { ctime: now - 3_600 + 60 * n, description: `Letter ${n} sent` }),
    )
  }
  return { repo, ids }
}

const failureOf = async (pair: Pair, repo: RepoId): Promise<string> => {
  await pair.sync(null)
  return (await pair.libraryAtRest(repo))?.failure?.code ?? 'none'
}

t.test(
  'changed answers: one letter of a commit among 3,000 objects, and the copy fails, keeps nothing of it, and is right when the line is',
  async t => {
    await using pair = await Pair.lay(PLAIN)
    const { repo, ids } = await library(pair, 5)
    const forged = ids[2] ?? ''
    await pair.startPrimary()
    const line = forgery(pair, 'Letter 2 sent', 'Letter 2 lost')
    await pair.startBackup()
    await pair.until('refused', async () => (await pair.library(repo))?.failure?.code === 'PROTOCOL_BROKEN')
    const fileOf = (dataDir: string) => join(dataDir, 'storage/commits', repo, forged.slice(0, 2), forged.slice(2))
    const ours = fileOf(pair.backup.dataDir)
    t.notOk(existsSync(ours) && !readFileSync(ours).equals(readFileSync(fileOf(pair.primary.dataDir))), 'no forgery')

    line.forges = false
    await pair.sync(repo)
    await pair.settle()
    t.equal((await pair.heads('backup')).get(repo), ids.at(-1))
    t.ok(readFileSync(ours).equals(readFileSync(fileOf(pair.primary.dataDir))), 'the commit is the one of the primary')
    await sameBytes(t, pair)
  },
)

t.test(
  'changed answers: an older head in the place of the new one, or another parent, refuse no library in the name of the primary',
  async t => {
    await using pair = await Pair.start(PLAIN)
    const { repo, ids } = await library(pair, 3)
    await pair.settle()
    const [first = '', , recorded = ''] = ids
    pair.backup.relay.cut() // an event would bring the change along, sealed
    const writer = await pair.writer()
    const head = await writer.commit(repo, [{ op: 'put', path: '/last', content: Buffer.from('last') }])
    for (const [what, said, other] of [
      ['an older head', `"head":"${head}"`, `"head":"${first}"`],
      ['a head that nobody has', `"head":"${head}"`, `"head":"${'d'.repeat(40)}"`],
      ['another parent', `"parent_id": "${recorded}"`, `"parent_id": "${'d'.repeat(40)}"`],
      ['a commit that is said to be lost', head, 'e'.repeat(40)],
    ] as const) {
      const line = forgery(pair, said, other)
      t.equal(await failureOf(pair, repo), 'PROTOCOL_BROKEN', what)
      t.equal((await pair.heads('backup')).get(repo), recorded, `${what}: our head is kept`)
      line.forges = false
    }
    pair.backup.relay.mend()
    t.equal(await failureOf(pair, repo), 'none')
    await pair.settle()
    t.equal((await pair.heads('backup')).get(repo), head)
    await sameBytes(t, pair)
  },
)
