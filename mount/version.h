/* version.h - the one place that says which Varve this is. */
#ifndef MOUNT_VERSION_H
#define MOUNT_VERSION_H

#define VARVE_VERSION "0.2.0"

#endif
