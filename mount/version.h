/* version.h - the version of Varve, for the program, the Makefile and lsm.pc. */
#ifndef MOUNT_VERSION_H
#define MOUNT_VERSION_H

#define VARVE_VERSION "0.2.0"

#endif
