import fc from 'fast-check'
import t from 'tap'
import { SqlRows } from '../../../src/backup/dumps/sql-rows.js'

/** As mariadb-dump writes it. */
const DUMP = `/*M!999999\\- enable the sandbox mode */ 
-- MariaDB dump 10.19  Distrib 10.11.14-MariaDB, for debian-linux-gnu (x86_64)
/*!40101 SET NAMES utf8mb4 */;
CREATE DATABASE /*!32312 IF NOT EXISTS*/ \`ccnet_db\` /*!40100 DEFAULT CHARACTER SET utf8mb4 */;

USE \`ccnet_db\`;
DROP TABLE IF EXISTS \`EmailUser\`;
CREATE TABLE \`EmailUser\` (
  \`id\` bigint(20) NOT NULL AUTO_INCREMENT,
  \`email\` varchar(255) DEFAULT NULL COMMENT 'INSERT INTO \`x\` VALUES (1);',
  PRIMARY KEY (\`id\`)
);
LOCK TABLES \`EmailUser\` WRITE;
INSERT INTO \`EmailUser\` VALUES
(1,'jo@example.com','it''s (not) a row; '),
(2,'\\'),(3,\\\\','x'),
(3,'ünï\\\\',0x28292C);
UNLOCK TABLES;
CREATE TABLE \`Empty\` (
  \`id\` int
);
USE \`odd\`\`name\`;
CREATE TABLE \`t VALUES\` (
  \`a\` int
);
INSERT INTO \`t VALUES\` (\`a\`,\`b\`) VALUES (1,'-- Dump completed'),(2,NULL);
INSERT INTO \`t VALUES\` (\`a\`,\`b\`) VALUES (3,'a
b');
DELIMITER ;;
CREATE TRIGGER x BEFORE INSERT ON y FOR EACH ROW BEGIN
INSERT INTO \`Audit\` VALUES (1),(2);
END ;;
DELIMITER ;
`
const END = '-- Dump completed on 2026-11-21 14:03:10\n'

const read = (text: string, chunk = Infinity) => {
  const bytes = Buffer.from(text, 'utf8')
  const rows = new SqlRows()
  for (let at = 0; at < bytes.byteLength; at += chunk)
    rows.push(bytes.subarray(at, Math.min(bytes.byteLength, at + chunk)))
  return rows
}

t.test(
  "sql rows: strings with parentheses, quotes, semicolons and lines in them are no rows, and bodies are nobody's",
  async t => {
    const rows = read(DUMP + END)
    t.strictSame(rows.tables(), [
      { database: 'ccnet_db', table: 'EmailUser', rows: 3 },
      { database: 'ccnet_db', table: 'Empty', rows: 0 },
      { database: 'odd`name', table: 't VALUES', rows: 3 },
    ])
    t.equal(rows.completed, true)
  },
)

t.test('sql rows: wherever the stream is cut into chunks, the same is found', async t => {
  const whole = read(DUMP + END).tables()
  for (const chunk of [1, 2, 3, 5, 7, 11, 64, 1021]) {
    const rows = read(DUMP + END, chunk)
    t.strictSame(rows.tables(), whole, `chunks of ${chunk} bytes`)
    t.equal(rows.completed, true)
  }
})

/** What may stand in a string, as the tool escapes it or as a server without backslashes would. */
const inString = fc.constantFrom(
  'a',
  'ü',
  '(',
  ')',
  '),(',
  ';',
  ',',
  '\n',
  '\\n',
  "\\'",
  "''",
  '\\\\',
  '\\"',
  '-- x',
  ' VALUES ',
)
const value = fc.oneof(
  fc.array(inString, { maxLength: 40 }).map(parts => `'${parts.join('')}'`),
  fc.constantFrom('NULL', '-1.5', '0x28292C27', "_binary 'x\\0'", 'POINT(1,2)', '(SELECT (1))'),
)
const tuple = fc.array(value, { minLength: 1, maxLength: 6 }).map(values => `(${values.join(',')})`)
const inserts = fc.array(fc.array(tuple, { minLength: 1, maxLength: 8 }), { maxLength: 6 })

t.test('sql rows: as many are found as were written, whatever is in them and wherever it is cut', t => {
  fc.assert(
    fc.property(inserts, fc.integer({ min: 1, max: 200 }), fc.boolean(), (statements, chunk, isMariadb) => {
      const [begin, between] = isMariadb ? ['\n', ',\n'] : [' ', ','] // one row a line, or all in one
      const sql = statements.map(rows => `INSERT INTO \`t\` VALUES${begin}${rows.join(between)};\n`).join('')
      const counted = read(`USE \`d\`;\nCREATE TABLE \`t\` (\n);\n${sql}${END}`, chunk)
      const rows = statements.reduce((sum, { length }) => sum + length, 0)
      t.strictSame([counted.tables(), counted.completed], [[{ database: 'd', table: 't', rows }], true])
      for (const { rows: left } of read(sql.slice(0, -2), chunk).tables()) if (left > rows) throw new Error('too many')
    }),
    { numRuns: 500 },
  )
  t.end()
})

t.test('sql rows: a string of megabytes, of backslashes or of quotes, takes no more than its length', t => {
  for (const text of ['\\\\', "''", "\\'", 'x'] as const) {
    const rows = read(`INSERT INTO \`t\` VALUES ('${text.repeat(4 * 1024 * 1024)}'),(2);\n${END}`, 128 * 1024)
    t.match([rows.tables()[0]?.rows, rows.completed], [2, true])
  }
  t.end()
})

t.test('sql rows: a dump that ends anywhere else than with its last line is not complete', async t => {
  t.equal(read('').completed, false)
  t.equal(read(DUMP).completed, false)
  t.equal(read(DUMP + END.slice(0, -1)).completed, false, 'not even without its line end')
  t.equal(read(DUMP + END + 'SET x = 1;\n').completed, false)
  t.equal(read(DUMP.slice(0, DUMP.indexOf('(2,')) + END).completed, false, 'cut within the rows of a table')
  t.equal(read(DUMP + END + '\n\n').completed, true)
})

t.test('sql rows: lines without an end, and columns without VALUES, need bounded memory', async t => {
  const rows = new SqlRows()
  const before = process.memoryUsage.rss()
  rows.push(Buffer.from('INSERT INTO `t` ('))
  const columns = Buffer.alloc(1024 * 1024, '`x`,')
  for (let i = 0; i < 256; i++) rows.push(columns)
  t.ok(process.memoryUsage.rss() - before < 64 * 1024 * 1024, '256 MiB of one line')
  t.equal(rows.completed, false)
})

t.test('sql rows: where the snapshot lies in the binlog is read before the first table, and nowhere else', async t => {
  const at = (line: string) => read(`${line}\n${DUMP}${END}`, 7).position()
  const mariadbs = "-- CHANGE MASTER TO MASTER_LOG_FILE='mysql-bin.000042', MASTER_LOG_POS=1234;"
  t.strictSame(at(mariadbs), { file: 'mysql-bin.000042', offset: 1234 })
  t.strictSame(at("-- CHANGE REPLICATION SOURCE TO SOURCE_LOG_FILE='b.1', SOURCE_LOG_POS=4;"), {
    file: 'b.1',
    offset: 4,
  })
  t.equal(at('-- nothing'), null)
  t.equal(at("-- CHANGE MASTER TO MASTER_LOG_FILE='../b.1', MASTER_LOG_POS=4;"), null)
  t.equal(read(`${DUMP}${mariadbs}\n${END}`).position(), null, 'that is a text of somebody')
})
