/**
 * Which of the logged changes are replayed: those of the dump's databases, but for Seafile's three core tables, whose
 * rows the backup has itself.
 */

import { CORE_TABLES } from '../../shared/catalog/schema.js'
import { statementOf } from './statement.js'
import type { Query, TableMap } from './event-bodies.js'
import type { MadeObject, Mention, Name, Statement } from './statement.js'

export interface Scope {
  /** Of the dump; Seafile's own first. */
  readonly databases: readonly string[]
}

export type Verdict =
  | { readonly do: 'drop' }
  | {
      readonly do: 'keep'
      /** `database.table` each. */
      readonly writes: readonly string[]
      readonly made: readonly MadeObject[]
      /** The session's database is not one of the dump's: the statement must run without going there. */
      readonly isElsewhere: boolean
      /** It makes, changes or removes a table, or what else is defined in a database. */
      readonly defines: boolean
    }
  /** It cannot be replayed, with why. */
  | { readonly do: 'refuse'; readonly why: string }

const DEFINING = new Set(['CREATE', 'ALTER', 'DROP', 'RENAME'])
const OF_SESSION = /^\W*(?:CREATE|DROP)\W+(?:OR\s+REPLACE\s+)?(?:\/\*!?\d*\s*)?TEMPORARY\b/i
const DROP: Verdict = { do: 'drop' }
const CORE = new Set<string>(CORE_TABLES.map(table => table.toLowerCase()))
const CORE_NAMES = new Set<string>(CORE_TABLES)

export const isCore = ({ databases: [own] }: Scope, database: string, table: string): boolean =>
  database.toLowerCase() === own?.toLowerCase() && CORE.has(table.toLowerCase())

export const keepsRows = (scope: Scope, { database, table }: TableMap): boolean =>
  scope.databases.includes(database) && !isCore(scope, database, table)

export function judgeStatement(scope: Scope, query: Query): Verdict {
  const statement = statementOf(query)
  switch (statement.does) {
    case 'frame':
      return {
        do: 'keep',
        writes: [],
        made: [],
        isElsewhere: !scope.databases.includes(query.database),
        defines: false,
      }
    case 'global':
    case 'nothing':
      return DROP
    case 'database':
      return ofDatabase(scope, query, statement)
    case 'unknown':
      return touches(scope, query, statement) ? refused(query, 'it is not known what it writes') : DROP
    case 'write':
      return ofTables(scope, query, statement)
  }
}

/** A whole database that is made anew here would take Seafile's core tables with it. */
function ofDatabase({ databases }: Scope, query: Query, { verb, writes: [named] }: Statement): Verdict {
  const name = named?.name ?? query.database
  if (!databases.includes(name)) return DROP
  if (verb === 'CREATE') return DROP // it is there
  if (verb === 'DROP') return refused(query, `it drops database ${name}`)
  return { do: 'keep', writes: [], made: [], isElsewhere: !databases.includes(query.database), defines: false }
}

function ofTables(scope: Scope, query: Query, statement: Statement): Verdict {
  const where = (name: Name): string => name.database ?? query.database
  const kinds = new Set(
    statement.writes.map(name =>
      !scope.databases.includes(where(name)) ? 'other' : isCore(scope, where(name), name.name) ? 'core' : 'kept',
    ),
  )
  if (!kinds.has('kept')) return DROP
  if (kinds.size > 1) return refused(query, 'it writes tables that are replayed and tables that are not')
  if (!statement.isDefinition) {
    const read = readElsewhere(scope, query, statement)
    if (read !== undefined) return refused(query, `it reads ${read}, which is not as it was then`)
  }
  return {
    do: 'keep',
    writes: statement.writes.map(name => `${where(name)}.${name.name}`),
    made: statement.made.map(name => ({ kind: name.kind, database: where(name), name: name.name })),
    isElsewhere: !scope.databases.includes(query.database),
    defines: DEFINING.has(statement.verb) && !OF_SESSION.test(query.text),
  }
}

/** What a replay does not have as it was. */
function readElsewhere(scope: Scope, query: Query, { mentions }: Statement): string | undefined {
  const found = mentions.find(mention => isCoreMention(scope, query, mention) || isForeign(scope, query, mention))
  return found?.parts.join('.')
}

/** Their names are nobody else's, so they count wherever they stand. */
function isCoreMention(
  { databases: [own] }: Scope,
  { database }: Query,
  { parts: [first = '', second] }: Mention,
): boolean {
  if (first === own && second !== undefined) return CORE_NAMES.has(second)
  return CORE_NAMES.has(first) && database === own
}

function isForeign({ databases }: Scope, { database }: Query, { parts, isTable }: Mention): boolean {
  return isTable && !databases.includes(parts.length > 1 ? (parts[0] ?? '') : database)
}

/** A statement that is not understood is nobody's here when none of the databases is named in it or in use. */
const touches = ({ databases }: Scope, { database }: Query, { mentions }: Statement): boolean =>
  databases.includes(database) ||
  mentions.some(({ parts: [first = '', second] }) => second !== undefined && databases.includes(first))

const SHOWN_CHARACTERS = 120

function refused({ text, database }: Query, why: string): Verdict {
  const shown = Buffer.from(text, 'latin1')
    .toString('utf8')
    .replace(/[\s\p{Cc}]+/gu, ' ')
    .trim()
    .slice(0, SHOWN_CHARACTERS)
  return { do: 'refuse', why: `the statement ${JSON.stringify(shown)} (in database ${database || 'none'}): ${why}` }
}
