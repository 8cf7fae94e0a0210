/** What is read of disks: Seafile's objects and seafile.conf. */

import { hash } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { deflateSync } from 'node:zlib'
import fc from 'fast-check'
import { readBackupConfig, readPrimaryConfig } from '../../src/shared/config.js'
import { EMPTY_ID, isObjectId, isRepoId } from '../../src/shared/ids.js'
import { parseKeyFile } from '../../src/shared/key-file.js'
import { parseCommit, parseFs } from '../../src/shared/seafile/objects.js'
import { NotWhatItsNameSays, verify } from '../../src/shared/store/verify.js'
import { objectId, orNull, repoId } from '../shared/wire/support.js'
import { byteCases, isSaid, jsonCases, record } from './decoder.js'
import { anyBytes, damaged, spoilt } from './mutate.js'
import { roomOf } from './room.js'
import type { BackupConfig, PrimaryConfig } from '../../src/shared/config.js'
import type { Commit, FsObject } from '../../src/shared/seafile/objects.js'
import type { ObjectKind } from '../../src/shared/store/object-store.js'
import type { RepoId } from '../../src/shared/ids.js'
import type { Case, Decoder } from './decoder.js'

const ID = 'ab'.repeat(20)
const REPO = '3f1c09aa-0000-4000-8000-000000000001' as RepoId
const text = fc.string({ unit: 'grapheme', maxLength: 40 })

const commit = record({
  commit_id: fc.constant(ID),
  repo_id: repoId,
  root_id: objectId,
  parent_id: orNull(objectId),
  second_parent_id: orNull(objectId),
  ctime: fc.maxSafeInteger(),
  creator: objectId,
  creator_name: text,
  description: text,
  repo_name: text,
  repo_desc: text,
  encrypted: fc.constantFrom('true', 'false'),
  version: fc.constant(1),
})
const dirent = record({
  name: text,
  id: objectId,
  mode: fc.constantFrom(0o100644, 0o040000),
  mtime: fc.nat(),
  size: fc.nat(),
})
const dir = record({ type: fc.constant(3), version: fc.constant(1), dirents: fc.array(dirent, { maxLength: 4 }) })
const blockId = objectId.filter(id => id !== EMPTY_ID)
const file = record({ type: fc.constant(1), size: fc.nat(), block_ids: fc.array(blockId, { maxLength: 4 }) })

const fsMeaning = (object: { type: number; dirents?: unknown; size?: unknown; block_ids?: unknown }) =>
  object.type === 3
    ? { type: 'dir', entries: object.dirents }
    : { type: 'file', size: object.size, blocks: object.block_ids }

const commitMeaning = (json: Parameters<typeof commit.map>[0] extends (value: infer C) => unknown ? C : never) => ({
  id: json.commit_id,
  repoId: json.repo_id,
  rootId: json.root_id,
  parentId: json.parent_id,
  secondParentId: json.second_parent_id,
  ctime: json.ctime,
  creator: json.creator,
  creatorName: json.creator_name,
  description: json.description,
  repoName: json.repo_name,
  repoDesc: json.repo_desc,
  encrypted: json.encrypted === 'true',
})

const SAYS =
  /^(is empty|is not JSON|is no JSON object|cannot be inflated|has \d+ bytes|(holds |has |entry |names a block|not a \w+ id: ).{0,120})$/
const saysWhatIsWrong = (error: unknown): boolean =>
  error instanceof Error && SAYS.test(error.message) && isSaid(error.message)

const isCommit = (value: Commit): boolean =>
  value.id === ID &&
  isObjectId(value.rootId) &&
  [value.parentId, value.secondParentId].every(parent => parent === null || isObjectId(parent)) &&
  isRepoId(value.repoId) &&
  Number.isSafeInteger(value.ctime) &&
  [value.creator, value.description, value.repoName, value.repoDesc].every(words => typeof words === 'string')

const isFs = (fs: FsObject): boolean =>
  fs.type === 'dir'
    ? fs.entries.every(({ name, id, mode }) => typeof name === 'string' && isObjectId(id) && typeof mode === 'number')
    : Number.isSafeInteger(fs.size) && fs.blocks.every(id => isObjectId(id) && id !== EMPTY_ID)

const sha1 = (bytes: Buffer): string => hash('sha1', bytes, 'hex')
const KINDS: readonly ObjectKind[] = ['commits', 'fs', 'blocks']

/** Kind (1 byte), name (20), then what lies under it: whole, deflated at any level, cut, or a bomb. */
const stored = (kind: ObjectKind, id: string, bytes: Buffer): Buffer =>
  Buffer.concat([Buffer.of(KINDS.indexOf(kind)), Buffer.from(id, 'hex'), bytes])
const fsJson = fc.oneof(dir, file).map(object => Buffer.from(JSON.stringify(object)))
const bomb = fc.constantFrom(1_000_000, 8_000_000).map(size => {
  const json = Buffer.alloc(size, ' ')
  json.write('{"type":1,"size":0,"block_ids":[]}')
  return stored('fs', sha1(json), deflateSync(json, { level: 1 }))
})
const named: fc.Arbitrary<Buffer> = fc.oneof(
  anyBytes().map(bytes => stored('blocks', sha1(bytes), bytes)),
  commit.map(json => stored('commits', ID, Buffer.from(JSON.stringify(json)))),
  fc
    .tuple(fsJson, fc.integer({ min: 0, max: 9 }))
    .map(([json, level]) => stored('fs', sha1(json), deflateSync(json, { level }))),
)
const storedCases: fc.Arbitrary<Case> = fc.oneof(
  { weight: 100, arbitrary: named.map(input => ({ input })) },
  { weight: 200, arbitrary: damaged(named).map(input => ({ input })) },
  {
    weight: 100,
    arbitrary: spoilt(fc.oneof(dir, file)).map(json => ({ input: stored('fs', sha1(json), deflateSync(json)) })),
  },
  { weight: 100, arbitrary: spoilt(commit).map(json => ({ input: stored('commits', ID, json) })) },
  { weight: 1, arbitrary: bomb.map(input => ({ input })) },
)

const OBJECTS: readonly Decoder[] = [
  {
    name: 'commit',
    cases: jsonCases(commit, commitMeaning),
    decode: input => parseCommit(ID, input),
    refuses: saysWhatIsWrong,
    right: (value: Commit, input) =>
      isCommit(value) && (JSON.parse(input.toString()) as { commit_id: unknown }).commit_id === ID,
  },
  {
    name: 'fs-object',
    cases: jsonCases(fc.oneof(dir, file), fsMeaning),
    decode: parseFs,
    refuses: saysWhatIsWrong,
    right: isFs,
  },
  {
    name: 'verify',
    cases: storedCases,
    decode: input => {
      const kind = KINDS[(input[0] ?? 0) % 3] as ObjectKind
      return verify({ kind, storeId: REPO, id: input.toString('hex', 1, 21).padEnd(40, '0') }, input.subarray(21))
    },
    refuses: error => error instanceof NotWhatItsNameSays && saysWhatIsWrong(error),
    right: ({ ref, bytes }: ReturnType<typeof verify>, input) =>
      bytes.equals(input.subarray(21)) && (ref.kind !== 'blocks' || sha1(bytes) === ref.id),
  },
]

const TOKEN = '0123456789abcdef0123456789abcdef01234567'
const key = fc.stringMatching(/^[a-z_]{1,12}$/)
const plainText = fc.stringMatching(/^[!-[\]-~]{1,20}$/)
const keyFile = fc.dictionary(key, fc.dictionary(key, plainText, { minKeys: 1, maxKeys: 4 }), { maxKeys: 3 })
const writtenKeyFile = (sections: Record<string, Record<string, string>>): Buffer => {
  const lines = (pairs: Record<string, string>) => Object.entries(pairs).map(([name, value]) => `${name} = ${value}`)
  return Buffer.from(
    Object.entries(sections)
      .flatMap(([name, pairs]) => [`[${name}]`, ...lines(pairs)])
      .join('\n'),
  )
}

const confLine = (name: string, ...values: readonly string[]) =>
  fc
    .option(fc.constantFrom(...values), { nil: null, freq: 6 })
    .map(value => (value === null ? '' : `${name} = ${value}`))
const conf = fc
  .tuple(
    fc.constant('[backup]'),
    confLine('sync_token', TOKEN, `${TOKEN}, ${TOKEN.toUpperCase()}`, TOKEN.slice(1), `${TOKEN} ${TOKEN} ${TOKEN}`),
    confLine('backup_url', 'ws://backup:8086', 'https://backup/x/', 'ftp://x', 'http://u:p@x', 'http://[::1]:1', 'x'),
    confLine(
      'primary_url',
      'http://primary:8087',
      'https://a, https://b',
      'http://x?y',
      ' ,',
      'http://\u{1f600}.example',
    ),
    confLine('listen', '0.0.0.0:0', '[::1]:8086', 'x:99999', ':1', '[fe80::1%eth0]:1'),
    confLine('sync_poll_interval', '1', '0.001', '0', '-1', '1e9', 'NaN', '169'),
    confLine('heads_poll_interval', '1', '0.1', '0', '3601', '١'),
    confLine('workers', '1', '16', '0', '1.5', '99999999999999999999'),
    confLine('max_rate', '0', '20M', '1.5k', '9999999999999999999999G', '-1'),
    confLine('max_cpu', '0', '50', '4', '1601', '-1'),
    confLine('rpo', '1', '0', '20161'),
    confLine('tls_cert', 'seafile.conf', 'nowhere', '/', '\\'),
    confLine('tls_key', 'seafile.conf', 'nowhere', 'a\\sb'),
    fc.constantFrom('[database]', '[database]\ntype = sqlite', '[database]\nuser = u\npassword = p;#"\ndb_name = d'),
    confLine('port', '3306', '0', 'x', '65536'),
    fc.constantFrom('', '[history]\nkeep_days = 30', '[history]\nkeep_days = -99999999999'),
  )
  .map(lines => Buffer.from(lines.join('\n')))

const confDir = roomOf('conf')
const readConf = (input: Buffer): { primary: unknown; backup: unknown } => {
  writeFileSync(join(confDir, 'seafile.conf'), input)
  const read = <T>(reader: (flags: { conf: string }, env: Record<string, string>) => T): T | undefined => {
    try {
      return reader({ conf: confDir }, {})
    } catch (error) {
      if (!refusesConf(error)) throw error
      return undefined
    }
  }
  return { primary: read(readPrimaryConfig), backup: read(readBackupConfig) }
}
const refusesConf = (error: unknown): boolean =>
  error instanceof Error && 'code' in error && error.code === 'CONFIG_INVALID' && !error.message.includes(TOKEN)

const isConfig = (config: PrimaryConfig | BackupConfig | undefined): boolean => {
  if (!config) return true
  const { syncTokens, listen, workers, maxRate } = config
  const maxCpu = config.role === 'primary' ? config.maxCpu : 0
  const times = config.role === 'primary' ? [config.headsPollIntervalMs] : [config.sweepIntervalMs, config.rpoMs]
  return (
    syncTokens.length > 0 &&
    syncTokens.length <= 2 &&
    syncTokens.every(token => /^[0-9a-f]{40}$/.test(token)) &&
    listen.port >= 0 &&
    listen.port <= 65_535 &&
    Number.isInteger(workers) &&
    workers >= 1 &&
    workers <= 16 &&
    Number.isFinite(maxRate) &&
    maxRate >= 0 &&
    (maxCpu === 0 || (maxCpu >= 5 && maxCpu <= 1600)) &&
    times.every(ms => Number.isSafeInteger(ms) && ms > 0) &&
    Object.isFrozen(config)
  )
}

/** In a value, before anything but the five letters that GLib knows. */
const hasLoneBackslash = (text: string): boolean =>
  text
    .split('\n')
    .filter(line => /^\s*[^\s#;[=][^=]*=/.test(line))
    .some(line =>
      line
        .slice(line.indexOf('='))
        .replace(/\r$/, '')
        .replace(/\\[sntr\\]/g, '')
        .includes('\\'),
    )

const CONFIGURATION: readonly Decoder[] = [
  {
    name: 'key-file',
    cases: byteCases(keyFile, writtenKeyFile, value => JSON.parse(JSON.stringify(value)), conf),
    decode: input => {
      const read = parseKeyFile(input.toString())
      const names = [...input.toString().matchAll(/^\s*\[([^\][]+)\][ \t]*\r?$/gm)].map(match => match[1] as string)
      const pairs = (section: string) => read.keys(section).map(name => [name, read.get(section, name)] as const)
      return Object.fromEntries(names.map(section => [section, Object.fromEntries(pairs(section))]))
    },
    refuses: () => false,
    right: (sections: Record<string, Record<string, unknown>>, input) =>
      (!hasLoneBackslash(input.toString()) || parseKeyFile(input.toString()).problems.length > 0) &&
      Object.values(sections).every(pairs =>
        Object.values(pairs).every(value => value === undefined || (typeof value === 'string' && value !== '')),
      ),
  },
  {
    name: 'seafile.conf',
    cases: fc.oneof(conf, damaged(conf), anyBytes()).map(input => ({ input })),
    decode: readConf,
    refuses: () => false,
    right: ({ primary, backup }: { primary: PrimaryConfig | undefined; backup: BackupConfig | undefined }) =>
      isConfig(primary) && isConfig(backup),
  },
]

export const DATA_DECODERS: readonly Decoder[] = [...OBJECTS, ...CONFIGURATION]
