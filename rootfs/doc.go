// Package rootfs turns the name of an image into directories that can be mounted: it reads references, pulls from
// registries, image layouts and archives, keeps everything in one store per user and unpacks each layer once.
//
// The store is a valid OCI image layout (readable by skopeo, umoci and others) with the unpacked layers beside it:
//
//	oci-layout, index.json       the layout's own files; index.json is replaced atomically, under a lock
//	blobs/sha256/HEX             manifests, configurations and layers as they came, digest checked
//	layers/MAP/sha256/HEX/       one unpacked layer by diff ID; MAP names the id mapping its owners were written with
//	  diff/                      its files, whiteouts in overlayfs's form: a lower directory as it is
//	  layer.json                 what is known about it
//	                             and, under a name of that form, what an image needs on top of its layers
//	layers/MAP/tmp/              layers being unpacked
//	partial/                     blobs being downloaded; what a killed pull left is continued by the next one
//	locks/                       one flock(2)ed file for each thing that somebody works on
//	leases/                      what running processes need, a flock(2)ed file each; locked itself by who adds or removes
//	tmp/                         files about to be renamed into place
//
// What has its final name is complete: everything is written under another name, checked, and renamed. That holds for
// processes killed at any point. Against power failure only index.json is flushed to the disk (fsync before and after
// the rename), and blobs are checked again whenever they are read; layers are not, as nothing but syncfs(2) could.
package rootfs
