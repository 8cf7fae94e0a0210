/** One file of last Tuesday, as a person gets it back. */

import { randomBytes } from 'node:crypto'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { spawn } from 'node:child_process'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import t from 'tap'
import { runCommand } from '../support/command.js'
import { Pair } from '../support/pair.js'
import type { Test } from 'tap'

async function scratch(t: Test): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'sbf-'))
  t.teardown(() => rm(dir, { recursive: true, force: true }))
  return dir
}

t.test(
  'files: an older version by time and by commit, listed, shown, fetched and compared; with no daemon',
  async t => {
    await using pair = await Pair.start()
    await pair.settle()
    const writer = await pair.writer()
    const repo = await writer.createLibrary({ name: 'Papers', owner: 'jo@example.com' })
    const photo = randomBytes(300_000)
    const first = await writer.commit(repo, [
      { op: 'put', path: '/letter.txt', content: Buffer.from('Dear Ann\nyours\nJo\n') },
      { op: 'put', path: '/photos/cat.jpg', content: photo },
    ])
    await pair.until('the first', async () => (await pair.library(repo))?.head === first)
    await delay(50)
    const then = new Date().toISOString()
    await delay(50)
    const second = await writer.commit(repo, [
      { op: 'put', path: '/letter.txt', content: Buffer.from('Dear Ann\nkindly\nJo\n') },
      { op: 'remove', path: '/photos/cat.jpg' },
    ])
    await pair.until('the second', async () => (await pair.library(repo))?.head === second)
    await pair.backup.process?.stop()
    const dir = await scratch(t)
    const run = (...args: string[]) => runCommand(pair, ...args)

    t.match((await run('ls', repo)).stdout, /18 bytes|19 bytes/)
    t.notMatch((await run('ls', '-R', repo)).stdout, /cat\.jpg/)
    t.match((await run('ls', '-R', repo, '--at', then)).stdout, /\/photos\/cat\.jpg/)
    t.match((await run('ls', repo, '/photos', '--at', first.slice(0, 10))).stdout, /293\.0 KiB .*cat\.jpg/)
    t.equal((await run('cat', repo, '/letter.txt')).stdout, 'Dear Ann\nkindly\nJo\n')
    t.equal((await run('cat', repo, 'letter.txt', '--at', then)).stdout, 'Dear Ann\nyours\nJo\n')
    t.equal((await run('get', repo, '/photos/cat.jpg', join(dir, 'cat.jpg'), '--at', then)).code, 0)
    t.ok((await readFile(join(dir, 'cat.jpg'))).equals(photo))
    t.equal((await run('get', repo, '/', join(dir, 'all'), '--at', then)).code, 0)
    t.equal(await readFile(join(dir, 'all', 'letter.txt'), 'utf8'), 'Dear Ann\nyours\nJo\n')

    const diff = await run('diff', repo, '--from', then, '--text')
    t.match(diff.stdout, /^~ \/letter\.txt {2}18 bytes -> 19 bytes\n {4}- yours\n {4}\+ kindly$/m)
    t.match(diff.stdout, /^- \/photos\/cat\.jpg {2}293\.0 KiB$/m)
    t.notMatch(diff.stdout, /Dear Ann/)

    const missing = await run('cat', repo, '/photos/cat.jpg')
    t.equal(missing.code, 2)
    t.match(missing.stderr, /cat\.jpg.*PATH_UNKNOWN/)
    const early = await run('ls', repo, '--at', '2001-01-01T00:00:00Z')
    t.equal(early.code, 2)
    t.match(early.stderr, /no head then/)
    const again = await run('get', repo, '/letter.txt', join(dir, 'cat.jpg'))
    t.equal(again.code, 2, 'it writes over nothing')
  },
)

const COMMAND = fileURLToPath(new URL('../../scripts/seaf-backup-cmd.js', import.meta.url))

/** With a password on standard input. */
function withPassword(
  pair: Pair,
  password: string,
  ...args: string[]
): Promise<{ code: number | null; stdout: Buffer; stderr: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [COMMAND, ...args, '--conf', join(pair.backup.dir, 'conf')])
    const out: Buffer[] = []
    let stderr = ''
    child.stdout.on('data', (chunk: Buffer) => out.push(chunk))
    child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()))
    child.on('error', reject)
    child.on('close', code => resolve({ code, stdout: Buffer.concat(out), stderr }))
    child.stdin.end(`${password}\n`)
  })
}

for (const version of [1, 2, 3, 4] as const) {
  t.test(`files: of an encrypted library (version ${version}) with its password; with another nothing`, async t => {
    await using pair = await Pair.start()
    await pair.settle()
    const writer = await pair.writer()
    const repo = await writer.createLibrary({
      name: 'Safe',
      owner: 'jo@example.com',
      encrypted: { password: 'geheim ünï', version },
    })
    const secret = randomBytes(200_000)
    const head = await writer.commit(repo, [{ op: 'put', path: '/secret.bin', content: secret }])
    await pair.until('arrived', async () => (await pair.library(repo))?.head === head)

    t.equal((await withPassword(pair, 'x', 'ls', repo)).code, 0, 'names need no password')
    const wrong = await withPassword(pair, 'wrong', 'cat', repo, '/secret.bin')
    t.equal(wrong.code, 2)
    t.match(wrong.stderr, /wrong password/)
    t.equal(wrong.stdout.byteLength, 0)
    t.notMatch(wrong.stderr, /geheim/)
    const none = await runCommand(pair, 'cat', repo, '/secret.bin')
    t.equal(none.code, 2)
    t.match(none.stderr, /read the password: none was given/)
    const right = await withPassword(pair, 'geheim ünï', 'cat', repo, '/secret.bin')
    t.equal(right.code, 0, right.stderr)
    t.ok(right.stdout.equals(secret))
  })
}
