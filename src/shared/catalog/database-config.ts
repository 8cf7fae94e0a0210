/** Where Seafile's own tables are: `[database]` of seafile.conf, checked. */

export type DatabaseConfig =
  | { readonly type: 'sqlite'; readonly path: string }
  | {
      readonly type: 'mysql'
      readonly host: string
      readonly port: number
      /** Goes before host and port. */
      readonly unixSocket?: string
      readonly user: string
      /** Secret. */
      readonly password: string
      readonly dbName: string
    }

export type MysqlConfig = DatabaseConfig & { readonly type: 'mysql' }
