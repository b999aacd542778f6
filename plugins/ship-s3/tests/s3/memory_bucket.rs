//! The storage of the in-process server: a bucket in memory that follows Amazon's documentation,
//! with atomic operations.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::SystemTime;

use bytes::{Bytes, BytesMut};
use futures_util::TryStreamExt;
use longshore_core::meter::Digest;
use s3s::checksum::ChecksumHasher;
use s3s::dto::*;
use s3s::{Body, S3, S3Request, S3Response, S3Result, s3_error};

/// The number of entries per page of a list.
const PAGE_ENTRIES: usize = 1000;

/// Bucket `acme`, in memory. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct MemoryBucket(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    objects: BTreeMap<String, Object>,
    uploads: BTreeMap<(String, String), Upload>,
    upload_count: usize,
}

#[derive(Clone)]
struct Object {
    bytes: Bytes,
    metadata: Option<HashMap<String, String>>,
    modified: Timestamp,
}

struct Upload {
    metadata: Option<HashMap<String, String>>,
    parts: BTreeMap<i32, Bytes>,
    initiated: Timestamp,
}

impl Object {
    fn new(bytes: Bytes, metadata: Option<HashMap<String, String>>) -> Self {
        Self { bytes, metadata, modified: now() }
    }

    fn e_tag(&self) -> ETag {
        e_tag(&self.bytes)
    }
}

impl MemoryBucket {
    /// Stores an object under a name that no client of ours would use.
    pub(crate) fn put_foreign(&self, name: &str) {
        self.inner().objects.insert(name.to_owned(), Object::new(Bytes::from_static(b"x"), None));
    }

    /// Returns the number of parts of uploads that were neither completed nor aborted.
    pub(crate) fn unfinished_parts(&self) -> usize {
        self.inner().uploads.values().map(|upload| upload.parts.len()).sum()
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap()
    }

    fn object(&self, bucket: &str, key: &str) -> S3Result<Object> {
        expect_bucket(bucket)?;
        self.inner().objects.get(key).cloned().ok_or_else(|| s3_error!(NoSuchKey))
    }
}

impl Inner {
    /// Stores an object; the check whether it may be created is atomic.
    fn put(&mut self, key: String, object: Object, create_only: bool) -> S3Result<ETag> {
        if create_only && self.objects.contains_key(&key) {
            return Err(s3_error!(PreconditionFailed));
        }
        let e_tag = object.e_tag();
        self.objects.insert(key, object);
        Ok(e_tag)
    }
}

#[async_trait::async_trait]
impl S3 for MemoryBucket {
    async fn put_object(&self, request: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let signed = request.headers.get("x-amz-content-sha256").cloned();
        let input = request.input;
        expect_bucket(&input.bucket)?;
        let bytes = read_body(input.body, signed.as_ref(), input.checksum_crc64nvme.as_deref()).await?;
        let create_only = input.if_none_match.is_some_and(|condition| condition.is_any());
        let e_tag = self.inner().put(input.key, Object::new(bytes, input.metadata), create_only)?;
        Ok(S3Response::new(PutObjectOutput { e_tag: Some(e_tag), ..Default::default() }))
    }

    async fn get_object(&self, request: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let input = request.input;
        let object = self.object(&input.bucket, &input.key)?;
        if let Some(ETagCondition::ETag(expected)) = &input.if_match
            && !object.e_tag().strong_cmp(expected)
        {
            return Err(s3_error!(PreconditionFailed));
        }
        let length = object.bytes.len() as u64;
        let range = input.range.map(|range| range.check(length)).transpose()?;
        let content_range = range.as_ref().map(|range| format!("bytes {}-{}/{length}", range.start, range.end - 1));
        let range = range.unwrap_or(0..length);
        let bytes = object.bytes.slice(range.start as usize..range.end as usize);
        Ok(S3Response::new(GetObjectOutput {
            e_tag: Some(object.e_tag()),
            content_length: Some(bytes.len() as i64),
            content_range,
            last_modified: Some(object.modified.clone()),
            metadata: object.metadata,
            body: Some(StreamingBlob::from(Body::from(bytes))),
            ..Default::default()
        }))
    }

    async fn head_object(&self, request: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        let object = self.object(&request.input.bucket, &request.input.key)?;
        Ok(S3Response::new(HeadObjectOutput {
            e_tag: Some(object.e_tag()),
            content_length: Some(object.bytes.len() as i64),
            last_modified: Some(object.modified.clone()),
            metadata: object.metadata,
            ..Default::default()
        }))
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = request.input;
        expect_bucket(&input.bucket)?;
        let (prefix, after) = (input.prefix.unwrap_or_default(), input.continuation_token.unwrap_or_default());
        let inner = self.inner();
        let mut matching = inner.objects.iter().filter(|(key, _)| key.starts_with(&prefix) && **key > after);
        let contents: Vec<_> =
            matching.by_ref().take(PAGE_ENTRIES).map(|(key, object)| self::Object::entry(object, key)).collect();
        let next_continuation_token =
            contents.last().and_then(|last| last.key.clone()).filter(|_| matching.next().is_some());
        Ok(S3Response::new(ListObjectsV2Output {
            is_truncated: Some(next_continuation_token.is_some()),
            next_continuation_token,
            contents: Some(contents),
            ..Default::default()
        }))
    }

    async fn delete_object(&self, request: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
        expect_bucket(&request.input.bucket)?;
        self.inner().objects.remove(&request.input.key);
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let input = request.input;
        expect_bucket(&input.bucket)?;
        let mut inner = self.inner();
        inner.upload_count += 1;
        let id = format!("upload-{}", inner.upload_count);
        let upload = Upload { metadata: input.metadata, parts: BTreeMap::new(), initiated: now() };
        inner.uploads.insert((input.key, id.clone()), upload);
        Ok(S3Response::new(CreateMultipartUploadOutput { upload_id: Some(id), ..Default::default() }))
    }

    async fn upload_part(&self, request: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        let signed = request.headers.get("x-amz-content-sha256").cloned();
        let input = request.input;
        let bytes = read_body(input.body, signed.as_ref(), input.checksum_crc64nvme.as_deref()).await?;
        let e_tag = e_tag(&bytes);
        let mut inner = self.inner();
        let upload = inner.uploads.get_mut(&(input.key, input.upload_id)).ok_or_else(|| s3_error!(NoSuchUpload))?;
        upload.parts.insert(input.part_number, bytes);
        Ok(S3Response::new(UploadPartOutput { e_tag: Some(e_tag), ..Default::default() }))
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let input = request.input;
        let mut inner = self.inner();
        let id = (input.key.clone(), input.upload_id);
        let upload = inner.uploads.get(&id).ok_or_else(|| s3_error!(NoSuchUpload))?;
        let mut bytes = BytesMut::new();
        for part in input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default() {
            let bytes_of_part = part.part_number.and_then(|number| upload.parts.get(&number));
            bytes.extend_from_slice(bytes_of_part.ok_or_else(|| s3_error!(InvalidPart))?);
        }
        let object = Object::new(bytes.freeze(), upload.metadata.clone());
        let create_only = input.if_none_match.is_some_and(|condition| condition.is_any());
        let e_tag = inner.put(input.key, object, create_only)?;
        inner.uploads.remove(&id);
        Ok(S3Response::new(CompleteMultipartUploadOutput { e_tag: Some(e_tag), ..Default::default() }))
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let id = (request.input.key, request.input.upload_id);
        self.inner().uploads.remove(&id).ok_or_else(|| s3_error!(NoSuchUpload))?;
        Ok(S3Response::new(AbortMultipartUploadOutput::default()))
    }

    async fn list_multipart_uploads(
        &self,
        request: S3Request<ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        let input = request.input;
        expect_bucket(&input.bucket)?;
        let (prefix, inner) = (input.prefix.unwrap_or_default(), self.inner());
        let after = (input.key_marker.unwrap_or_default(), input.upload_id_marker.unwrap_or_default());
        let mut matching = inner.uploads.iter().filter(|(id, _)| id.0.starts_with(&prefix) && **id > after);
        // Pages of two, to test several pages.
        let page: Vec<_> = matching.by_ref().take(2).collect();
        let uploads = page.iter().map(|((key, id), upload)| MultipartUpload {
            key: Some(key.clone()),
            upload_id: Some(id.clone()),
            initiated: Some(upload.initiated.clone()),
            ..Default::default()
        });
        Ok(S3Response::new(ListMultipartUploadsOutput {
            uploads: Some(uploads.collect()),
            next_key_marker: page.last().map(|(id, _)| id.0.clone()),
            next_upload_id_marker: page.last().map(|(id, _)| id.1.clone()),
            is_truncated: Some(matching.next().is_some()),
            ..Default::default()
        }))
    }
}

impl Object {
    fn entry(object: &Self, key: &str) -> s3s::dto::Object {
        s3s::dto::Object {
            key: Some(key.to_owned()),
            size: Some(object.bytes.len() as i64),
            last_modified: Some(object.modified.clone()),
            e_tag: Some(object.e_tag()),
            ..Default::default()
        }
    }
}

fn expect_bucket(name: &str) -> S3Result<()> {
    if name == "acme" { Ok(()) } else { Err(s3_error!(NoSuchBucket)) }
}

/// Collects a body, if it matches its signature and its checksum.
async fn read_body(
    body: Option<StreamingBlob>,
    signed: Option<&http::HeaderValue>,
    crc: Option<&str>,
) -> S3Result<Bytes> {
    let body = body.ok_or_else(|| s3_error!(IncompleteBody))?;
    let bytes = body.try_fold(BytesMut::new(), async |mut all, chunk| {
        all.extend_from_slice(&chunk);
        Ok(all)
    });
    let bytes = bytes.await.map_err(|_| s3_error!(IncompleteBody))?.freeze();
    let mut hasher = ChecksumHasher { crc64nvme: Some(Default::default()), ..Default::default() };
    hasher.update(&bytes);
    if crc.is_some_and(|crc| hasher.finalize().checksum_crc64nvme.as_deref() != Some(crc)) {
        return Err(s3_error!(BadDigest));
    }
    match signed.and_then(|signed| signed.to_str().ok()) {
        Some(digest) if digest.len() == 64 && digest != Digest::of(&bytes).hex() => Err(s3_error!(BadDigest)),
        _ => Ok(bytes),
    }
}

fn e_tag(bytes: &[u8]) -> ETag {
    ETag::Strong(Digest::of(bytes).hex()[..32].to_owned())
}

fn now() -> Timestamp {
    SystemTime::now().into()
}
