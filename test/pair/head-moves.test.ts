/** Head moves on SQLite. */

import { headMovesSuite } from '../support/head-moves-suite.js'

headMovesSuite('sqlite')
