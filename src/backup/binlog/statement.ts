/**
 * What a logged statement writes, as far as its words say it.
 *
 * This is no parser of SQL: it finds the tables that a statement names where
 * tables are written, and every other name in it. What it does not know it says so.
 */

import { wordsOf } from './sql-words.js'
import type { Query } from './event-bodies.js'
import type { Word } from './sql-words.js'

export interface Name {
  /** Null: the session's database. */
  readonly database: string | null
  readonly name: string
}

export type ObjectKind = 'TABLE' | 'VIEW' | 'SEQUENCE' | 'PROCEDURE' | 'FUNCTION' | 'EVENT'

export interface MadeObject {
  readonly kind: ObjectKind
  readonly database: string
  readonly name: string
}

export interface Statement {
  /**
   * `write`: of tables, or of what is defined in a database; `database`: of a whole one; `global`: of accounts and of
   * the server; `frame`: of the transaction; `unknown`: cannot be judged.
   */
  readonly does: 'write' | 'database' | 'global' | 'frame' | 'unknown' | 'nothing'
  /** Its first word. */
  readonly verb: string
  readonly writes: readonly Name[]
  /** It defines what runs later: what is named in it is not read now. */
  readonly isDefinition: boolean
  readonly made: readonly (Name & { readonly kind: ObjectKind })[]
  /** Names with all their parts, where tables may stand: after FROM and the like, or anywhere. */
  readonly mentions: readonly Mention[]
}

export interface Mention {
  readonly parts: readonly string[]
  readonly isTable: boolean
}

type Found = Partial<Pick<Statement, 'writes' | 'isDefinition' | 'made'>> & Pick<Statement, 'does'>

const GLOBAL = new Set(
  'GRANT REVOKE FLUSH RESET KILL SHUTDOWN INSTALL UNINSTALL CHANGE START STOP PURGE ANALYZE OPTIMIZE REPAIR CHECK CACHE SHOW'.split(
    ' ',
  ),
)
const FRAMES = new Set(['BEGIN', 'COMMIT', 'ROLLBACK', 'SAVEPOINT', 'RELEASE'])
const TABLE_FOLLOWS = new Set(['FROM', 'JOIN', 'STRAIGHT_JOIN', 'REFERENCES'])

export function statementOf(query: Query): Statement {
  let words = wordsOf(query)
  // SET STATEMENT variable = value FOR what is meant
  if (words[0]?.key === 'SET' && words[1]?.key === 'STATEMENT')
    words = words.slice(words.findIndex(({ key }) => key === 'FOR') + 1)
  const verb = words[0]?.key ?? ''
  const found = words.length === 0 ? ({ does: 'nothing' } as const) : judged(verb, new Cursor(words, 1))
  return { verb, writes: [], isDefinition: false, made: [], mentions: mentionsOf(words, verb), ...found }
}

function judged(verb: string, rest: Cursor): Found {
  if (FRAMES.has(verb)) return { does: 'frame' }
  if (verb === 'START' && rest.is('TRANSACTION')) return { does: 'frame' }
  if (GLOBAL.has(verb)) return { does: 'global' }
  return (VERBS[verb] ?? unknown)(rest)
}

const unknown = (): Found => ({ does: 'unknown' })
const written = (writes: readonly (Name | undefined)[]): Found =>
  writes.length === 0 || writes.includes(undefined) ? unknown() : { does: 'write', writes: writes as Name[] }

const VERBS: Readonly<Record<string, (rest: Cursor) => Found>> = {
  INSERT: inserted,
  REPLACE: inserted,
  UPDATE(rest) {
    rest.skip('LOW_PRIORITY', 'IGNORE')
    return written(rest.tables(['SET']))
  },
  DELETE: deleted,
  TRUNCATE(rest) {
    rest.skip('TABLE')
    return written([rest.name()])
  },
  RENAME: renamed,
  CREATE: rest => defined(rest, true),
  ALTER: rest => defined(rest, false),
  DROP: dropped,
  SET: rest =>
    rest.is('PASSWORD') || rest.is('DEFAULT') || rest.is('ROLE') || rest.is('GLOBAL') ? { does: 'global' } : unknown(),
}

function inserted(rest: Cursor): Found {
  rest.skip('LOW_PRIORITY', 'DELAYED', 'HIGH_PRIORITY', 'IGNORE', 'INTO')
  return written([rest.name()])
}

/** Of several tables every one that is named counts as written: those before FROM may be other names of them. */
function deleted(rest: Cursor): Found {
  rest.skip('LOW_PRIORITY', 'QUICK', 'IGNORE')
  if (!rest.is('FROM'))
    return rest.skipTo('FROM') ? written(rest.tables(['WHERE', 'ORDER', 'LIMIT', 'RETURNING'])) : unknown()
  rest.skip('FROM')
  const first = rest.name()
  if (rest.hasAtTop('USING'))
    return rest.skipTo('USING') ? written(rest.tables(['WHERE', 'ORDER', 'LIMIT', 'RETURNING'])) : unknown()
  return written([first])
}

function renamed(rest: Cursor): Found {
  if (rest.is('USER')) return { does: 'global' }
  rest.skip('TABLE', 'TABLES', 'IF', 'EXISTS')
  const writes: (Name | undefined)[] = []
  const made: (Name & { kind: ObjectKind })[] = []
  do {
    const from = rest.name()
    if (!rest.skipTo('TO')) return unknown()
    const to = rest.name()
    writes.push(from, to)
    if (to) made.push({ ...to, kind: 'TABLE' })
  } while (rest.skip(','))
  return { ...written(writes), made }
}

const OBJECTS: readonly string[] = [
  'TABLE',
  'TABLES',
  'VIEW',
  'SEQUENCE',
  'PROCEDURE',
  'FUNCTION',
  'EVENT',
  'INDEX',
  'TRIGGER',
  'PACKAGE',
  'DATABASE',
  'SCHEMA',
]
const ACCOUNTS: readonly string[] = [
  'USER',
  'ROLE',
  'SERVER',
  'TABLESPACE',
  'LOGFILE',
  'INSTANCE',
  'UNDO',
  'RESOURCE',
  'SPATIAL_REFERENCE',
]
const LATER: readonly string[] = ['VIEW', 'PROCEDURE', 'FUNCTION', 'EVENT', 'TRIGGER', 'PACKAGE']

/** CREATE and ALTER, with whatever stands before the word that says what of. */
function defined(rest: Cursor, isNew: boolean): Found {
  const kind = rest.skipToAny([...OBJECTS, ...ACCOUNTS])
  if (kind === undefined) return unknown()
  if (ACCOUNTS.includes(kind) || rest.has('SONAME')) return { does: 'global' }
  if (kind === 'DATABASE' || kind === 'SCHEMA') return ofDatabase(rest)
  rest.skip('BODY', 'IF', 'NOT', 'EXISTS')
  if (kind === 'INDEX' || kind === 'TRIGGER') {
    return rest.skipTo('ON') ? { ...written([rest.name()]), isDefinition: kind === 'TRIGGER' } : unknown()
  }
  const name = rest.name()
  const made = isNew && name && isKind(kind) ? [{ ...name, kind }] : []
  const table = 'TABLE' as const
  if (kind !== 'TABLE') return { ...written([name]), isDefinition: LATER.includes(kind), made }
  const others = rest.furtherTables()
  return {
    ...written([name, ...others]),
    made: [...made, ...others.flatMap(to => (to ? [{ ...to, kind: table }] : []))],
  }
}

function dropped(rest: Cursor): Found {
  const kind = rest.skipToAny([...OBJECTS, ...ACCOUNTS, 'PREPARE'])
  if (kind === undefined) return unknown()
  if (ACCOUNTS.includes(kind)) return { does: 'global' }
  if (kind === 'PREPARE') return { does: 'nothing' }
  if (kind === 'DATABASE' || kind === 'SCHEMA') return ofDatabase(rest)
  rest.skip('BODY', 'IF', 'EXISTS')
  if (kind === 'INDEX') return rest.skipTo('ON') ? written([rest.name()]) : unknown()
  const names: (Name | undefined)[] = []
  do names.push(rest.name())
  while (rest.skip(','))
  return { ...written(names), isDefinition: true }
}

function ofDatabase(rest: Cursor): Found {
  rest.skip('IF', 'NOT', 'EXISTS')
  const name = rest.name()
  return { does: 'database', writes: name ? [name] : [] }
}

const isKind = (kind: string): kind is ObjectKind =>
  ['TABLE', 'VIEW', 'SEQUENCE', 'PROCEDURE', 'FUNCTION', 'EVENT'].includes(kind)

/** Every name with its parts. */
function mentionsOf(words: readonly Word[], verb: string): Mention[] {
  const mentions: Mention[] = []
  const within: boolean[] = [] // of each open parenthesis, whether a query is in it: EXTRACT(YEAR FROM x) names no table
  for (let at = 0; at < words.length; at++) {
    const { key = '', isMark = true, text = '' } = words[at] ?? {}
    if (key === '(') within.push(['SELECT', 'WITH', '('].includes(words[at + 1]?.key ?? ''))
    if (key === ')') within.pop()
    if (isMark) continue
    const before = words[at - 1]?.key ?? ''
    const parts = [text]
    while (words[at + 1]?.key === '.' && words[at + 2]?.isMark === false) {
      parts.push(words[at + 2]?.text ?? '')
      at += 2
    }
    const follows = (TABLE_FOLLOWS.has(before) && within.at(-1) !== false) || (before === 'LIKE' && verb === 'CREATE')
    mentions.push({ parts, isTable: follows })
  }
  return mentions
}

/** Goes through the words once. */
class Cursor {
  constructor(
    private readonly words: readonly Word[],
    private at: number,
  ) {}

  is(key: string): boolean {
    return this.words[this.at]?.key === key
  }

  /** As many of these as come. Gives whether one came. */
  skip(...keys: readonly string[]): boolean {
    const from = this.at
    while (keys.includes(this.words[this.at]?.key ?? '-')) this.at += 1
    return this.at > from
  }

  has(key: string): boolean {
    return this.words.slice(this.at).some(word => word.key === key)
  }

  hasAtTop(key: string): boolean {
    return this.#topIndex([key]) >= 0
  }

  /** Behind the next of it that is not in parentheses. */
  skipTo(key: string): boolean {
    return this.skipToAny([key]) !== undefined
  }

  skipToAny(keys: readonly string[]): string | undefined {
    const index = this.#topIndex(keys)
    if (index < 0) return undefined
    this.at = index + 1
    return this.words[index]?.key
  }

  /** With its database, if that is said. */
  name(): Name | undefined {
    const first = this.words[this.at]
    if (!first || first.isMark) return undefined
    this.at += 1
    const second = this.words[this.at + 1]
    if (this.words[this.at]?.key !== '.' || !second || second.isMark) return { database: null, name: first.text }
    this.at += 2
    return { database: first.text, name: second.text }
  }

  /** Of a list with joins, those that are named before one of these words. */
  tables(until: readonly string[]): (Name | undefined)[] {
    const end = this.#topIndex(until)
    const last = end < 0 ? this.words.length : end
    const names: (Name | undefined)[] = []
    let expected = true
    while (this.at < last) {
      const word = this.words[this.at] as Word
      if (word.key === '(') this.at += 1
      else if (word.key === ',' || word.key === 'JOIN' || word.key === 'STRAIGHT_JOIN') {
        expected = true
        this.at += 1
      } else if (expected && !word.isMark && word.key !== 'SELECT') {
        names.push(this.name())
        expected = false
      } else this.at += 1
    }
    return names
  }

  /** Of ALTER TABLE: what it is renamed to, or exchanged with. */
  furtherTables(): (Name | undefined)[] {
    const names: (Name | undefined)[] = []
    while (this.skipToAny(['RENAME', 'EXCHANGE']) !== undefined) {
      const isExchange = this.words[this.at - 1]?.key === 'EXCHANGE'
      if (isExchange && !this.skipTo('TABLE')) return [undefined]
      if (!isExchange && ['COLUMN', 'INDEX', 'KEY', 'CONSTRAINT'].some(key => this.is(key))) continue
      this.skip('TO', 'AS', '=')
      names.push(this.name())
    }
    return names
  }

  #topIndex(keys: readonly string[]): number {
    let depth = 0
    for (let index = this.at; index < this.words.length; index++) {
      const key = this.words[index]?.key ?? ''
      if (key === '(') depth += 1
      else if (key === ')') depth -= 1
      else if (depth <= 0 && keys.includes(key)) return index
    }
    return -1
  }
}
