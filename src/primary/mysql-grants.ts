/** What lines of SHOW GRANTS allow, and how one is written. */

/** Of one line of SHOW GRANTS, what it allows on every table of `database`. */
export function privilegesOn(grant: string, database: string): string[] {
  const { on, names } = parsed(grant)
  return on === '*' || pattern(on.slice(1, -1).replaceAll('``', '`')).test(database) ? names : []
}

/** Of one line, what it allows everywhere. Whole names: REPLICATION SLAVE ADMIN is another one than REPLICATION SLAVE. */
export function globalPrivileges(grant: string): string[] {
  const { on, names } = parsed(grant)
  return on === '*' ? names : []
}

/** As it is written after TO, of what CURRENT_USER() gives. */
export function grantee(account: string): string {
  const at = account.lastIndexOf('@')
  return `'${account.slice(0, at)}'@'${account.slice(at + 1)}'`
}

/** A line that is about no whole database names nothing. */
function parsed(grant: string): { readonly on: string; readonly names: string[] } {
  const [, list = '', on = '``'] = /^GRANT (.+?) ON (\*|`(?:[^`]|``)*`)\.\* TO /i.exec(grant) ?? []
  return { on, names: list.split(',').map(name => name.trim().toUpperCase()) }
}

/** Names in grants are patterns: `%` and `_` stand for others, unless a backslash is before them. */
function pattern(name: string): RegExp {
  const source = name.replace(
    /\\([%_])|([%_])|([.*+?^${}()|[\]\\])/g,
    (_all, plain?: string, wild?: string, other?: string) =>
      plain !== undefined ? plain : wild === '%' ? '.*' : wild === '_' ? '.' : `\\${String(other)}`,
  )
  return new RegExp(`^${source}$`)
}
