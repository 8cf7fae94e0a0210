#!/usr/bin/env node
'use strict'

require('./run.cjs')('dist/src/backup/main.js')
