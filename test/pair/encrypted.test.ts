/** Encrypted libraries: ciphertext and wrapped keys are copied, and whoever knows the password reads the copy. */

import { createCipheriv, createDecipheriv, pbkdf2Sync, randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import t from 'tap'
import { parseRepoId } from '../../src/shared/ids.js'
import { openFileKey, readEncryption } from '../../src/shared/seafile/write/encrypt.js'
import { fixturesMissing } from '../support/fixtures.js'
import { ByHand, expectSame, objectFiles } from '../support/odd-data.js'
import { Pair } from '../support/pair.js'
import { RawObjects } from '../support/raw-objects.js'
import { layFixture } from '../support/sides.js'
import { sqlOn } from '../support/sql.js'
import type { RepoId } from '../../src/shared/ids.js'
import type { Encryption } from '../../src/shared/seafile/encode.js'

const OWNER = 'jo@example.com'
const PASSWORD = 'correct horse battery staple'
const put = (path: string, content = path) => ({ op: 'put' as const, path, content: Buffer.from(content) })

async function run(pair: Pair): Promise<void> {
  await pair.startPrimary()
  await pair.startBackup()
  await pair.settle()
}

/** What the backup's own files say, opened with a password as a client would. */
async function decrypted(pair: Pair, repo: RepoId, storeId: RepoId, password: string): Promise<string[]> {
  const objects = new RawObjects(pair.backup.dataDir)
  const head = (await pair.heads('backup')).get(repo) ?? ''
  const encryption = readEncryption(readFileSync(objects.path('commits', repo, head)))
  const key = openFileKey(repo, encryption as Encryption, password)
  const blocks = objects.list('blocks', storeId).map(id => readFileSync(objects.path('blocks', storeId, id)))
  return blocks.map(block => key.decrypt(block).toString('utf8')).sort()
}

for (const version of [2, 4] as const) {
  t.test(`encrypted: version ${version} arrives as ciphertext, and its password opens the copy`, async t => {
    await using pair = await Pair.lay()
    const writer = await pair.writer()
    const encrypted = { password: PASSWORD, version }
    const repo = await writer.createLibrary({ name: 'Secret', owner: OWNER, encrypted })
    await writer.createLibrary({ name: 'Secret and empty', owner: OWNER, encrypted })
    await writer.commit(repo, [put('/plan.md'), put('/empty', '')])
    await run(pair)
    await writer.commit(repo, [put('/more.md')], { clientForm: 'go' })
    await pair.settle()

    await expectSame(t, pair)
    t.strictSame(await decrypted(pair, repo, repo, PASSWORD), ['/more.md', '/plan.md'])
    t.strictSame(await sqlOn(pair.backup.database).select('SELECT is_encrypted FROM RepoInfo'), [[1], [1]])
  })
}

const hex = (characters: number) => randomBytes(characters / 2).toString('hex')
const argon = { pwd_hash: hex(64), pwd_hash_algo: 'argon2id', pwd_hash_params: '2,102400,8' }

/** Members of the commits, by what made them. */
const MEMBERS = {
  'version 1': { enc_version: 1, magic: hex(32) },
  'version 2': { enc_version: 2, magic: hex(64), key: hex(96) },
  'version 3': { enc_version: 3, magic: hex(64), key: hex(96), salt: hex(64) },
  'version 4': { enc_version: 4, magic: hex(64), key: hex(96), salt: hex(64) },
  'version 2 with a configured password hash': { enc_version: 2, key: hex(96), ...argon },
  'version 4 with a configured password hash': { enc_version: 4, key: hex(96), salt: hex(64), ...argon },
  'a version that is not known here': { enc_version: 9, magic: hex(64), key: hex(500), tag: hex(32) },
}

for (const [what, members] of Object.entries(MEMBERS)) {
  t.test(`encrypted: ${what} is copied byte for byte, for nothing in it is ever opened`, async t => {
    await using pair = await Pair.lay()
    const writer = await pair.writer()
    const hand = new ByHand(pair)
    const repo = await writer.createLibrary({ name: 'Secret', owner: OWNER })
    await writer.commit(repo, [put('/a', hex(64)), put('/b', hex(64))])
    hand.rewriteCommits(repo, { encrypted: 'true', ...members })
    await run(pair)
    await hand.commit(repo, { description: 'Changed library password', magic: hex(64), pwd_hash: hex(64) })
    await pair.settle()

    await expectSame(t, pair)
  })
}

/** As Seafile changes a password: the same secret, wrapped anew, in a commit with the same tree. */
function rewrapped(repo: RepoId, { key, salt }: Encryption, old: string, next: string): { magic: string; key: string } {
  const saltBytes = Buffer.from(salt ?? '', 'hex')
  const derive = (from: string): [Buffer, Buffer] => {
    const derived = pbkdf2Sync(from, saltBytes, 1000, 32, 'sha256')
    return [derived, pbkdf2Sync(derived, saltBytes, 10, 16, 'sha256')]
  }
  const opening = createDecipheriv('aes-256-cbc', ...derive(old))
  const secret = Buffer.concat([opening.update(Buffer.from(key ?? '', 'hex')), opening.final()])
  const closing = createCipheriv('aes-256-cbc', ...derive(next))
  const wrapped = Buffer.concat([closing.update(secret), closing.final()])
  return { magic: derive(repo + next)[0].toString('hex'), key: wrapped.toString('hex') }
}

t.test('encrypted: a change of the password arrives; the new one opens the copy, and the old one does not', async t => {
  await using pair = await Pair.lay()
  const writer = await pair.writer()
  const hand = new ByHand(pair)
  const repo = await writer.createLibrary({
    name: 'Secret',
    owner: OWNER,
    encrypted: { password: PASSWORD, version: 4 },
  })
  const head = await writer.commit(repo, [put('/plan.md')])
  await run(pair)
  const encryption = readEncryption(readFileSync(hand.objects.path('commits', repo, head))) as Encryption
  await hand.commit(repo, rewrapped(repo, encryption, PASSWORD, 'another one'))
  await pair.settle()

  await expectSame(t, pair)
  t.strictSame(await decrypted(pair, repo, repo, 'another one'), ['/plan.md'])
  await t.rejects(decrypted(pair, repo, repo, PASSWORD), /wrong password/)
})

t.test("encrypted: a virtual library arrives with a magic of its own over its origin's blocks", async t => {
  await using pair = await Pair.lay()
  const writer = await pair.writer()
  const encrypted = { password: PASSWORD, version: 4 } as const
  const origin = await writer.createLibrary({ name: 'Origin', owner: OWNER, encrypted })
  await writer.commit(origin, [put('/team/plan.md'), put('/private.md')])
  const virtual = await writer.createVirtualLibrary({ origin, path: '/team', name: 'Team', password: PASSWORD })
  await run(pair)
  await writer.commit(virtual, [put('/from the team.md')])
  await writer.commit(origin, [put('/team/from the origin.md')])
  await pair.settle()

  await expectSame(t, pair)
  const plain = ['/from the team.md', '/private.md', '/team/from the origin.md', '/team/plan.md']
  t.strictSame(await decrypted(pair, virtual, origin, PASSWORD), plain)
  t.strictSame(await decrypted(pair, origin, origin, PASSWORD), plain)
})

t.test(
  "encrypted: a real server's libraries arrive byte for byte, and a change of their passwords",
  { skip: fixturesMissing() },
  async t => {
    await using pair = await Pair.lay({ prepare: async dir => void (await layFixture('sqlite', dir, undefined)) })
    await run(pair)
    const hand = new ByHand(pair)
    const rows = await hand.acts.sql.select('SELECT repo_id FROM RepoInfo WHERE is_encrypted = 1')
    const repos = rows.map(([id]) => parseRepoId(id))
    t.equal(repos.length, 3, 'version 2, version 4, and version 4 with argon2id')
    for (const repo of repos) {
      const commit = hand.objects.commit(repo, await hand.acts.head(repo))
      await hand.commit(repo, { key: hex(96), ['pwd_hash' in commit ? 'pwd_hash' : 'magic']: hex(64) })
    }
    await pair.settle()

    const [theirs, ours] = [await objectFiles(pair.primary.dataDir), await objectFiles(pair.backup.dataDir)]
    for (const repo of repos) {
      const of = (files: Record<string, string>) => Object.entries(files).filter(([name]) => name.includes(repo))
      t.strictSame(of(ours), of(theirs))
      t.equal((await pair.libraryAtRest(repo))?.state, 'synchronized')
    }
  },
)
